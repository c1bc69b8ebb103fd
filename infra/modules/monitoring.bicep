import { principal, tagMap } from 'types.bicep'

param workspaceName string
param insightsName string
param location string
param tags tagMap

@description('GB a day that the workspace takes at most; -1: no cap.')
param dailyCapGB int

@description('May send telemetry.')
param publishers principal[]

// Monitoring Metrics Publisher
var publisherRole = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '3913510d-42f4-4e42-8a64-420c390055eb'
)

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 30
    workspaceCapping: { dailyQuotaGb: dailyCapGB }
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: insightsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true // the connection string alone does not admit telemetry: a token must
  }
}

resource publish 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for p in publishers: {
    name: guid(insights.id, p.key, publisherRole)
    scope: insights
    properties: {
      roleDefinitionId: publisherRole
      principalId: p.id
      principalType: p.type
    }
  }
]

output workspaceId string = workspace.id
output connectionString string = insights.properties.ConnectionString
