import { tagMap } from 'types.bicep'

param workbookTitle string
param location string
param tags tagMap
param workspaceId string

@description('Gets the alerts. Empty: there are none, which is free.')
param alertEmail string

// Metrics count all turns, also those whose spans the sampler leaves out.
var turns = 'AppMetrics | where Name == "code_interpreter.turns"'

// One of each: what callers see, how long they wait, and what is too small.
var alerts = [
  {
    name: 'turns-fail'
    description: 'More than one turn in ten failed in 15 minutes, of five or more.'
    query: '${turns} | summarize turns = sum(Sum), failed = sumif(Sum, tostring(Properties["code_interpreter.outcome"]) == "failed") | where turns >= 5 | project value = 100.0 * failed / turns'
    threshold: 10
  }
  {
    name: 'turns-are-slow'
    description: 'One turn in twenty took longer than a minute in 15 minutes.'
    query: 'AppDependencies | where Name startswith "invoke_agent" | summarize value = percentile(DurationMs, 95)'
    threshold: 60000
  }
  {
    name: 'turns-are-throttled'
    description: 'The model or the session pool had no room for more than five turns in 15 minutes.'
    query: '${turns} | where tostring(Properties["error.type"]) in ("ModelThrottled", "PoolFull") | summarize value = sum(Sum)'
    threshold: 5
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, workbookTitle)
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    category: 'workbook'
    displayName: workbookTitle
    sourceId: workspaceId
    serializedData: replace(loadTextContent('workbook.json'), '{workspace}', workspaceId)
  }
}

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmail)) {
  name: 'operators'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'operators'
    emailReceivers: [
      { name: 'operator', emailAddress: alertEmail, useCommonAlertSchema: true }
    ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: if (!empty(alertEmail)) {
    name: alert.name
    location: location
    tags: tags
    properties: {
      displayName: alert.name
      description: alert.description
      severity: 2
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT15M'
      windowSize: 'PT15M'
      autoMitigate: true
      skipQueryValidation: true // the tables come with the first telemetry
      criteria: {
        allOf: [
          {
            query: alert.query
            metricMeasureColumn: 'value'
            timeAggregation: 'Maximum'
            operator: 'GreaterThan'
            threshold: alert.threshold
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [operators.id] }
    }
  }
]
