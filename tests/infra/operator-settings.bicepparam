using '../../infra/main.bicep'

// Every app setting that an operator may change, on either host, in a second deployment.
param environmentName = 'operator-settings'
param location = 'eastus2'
param containerHost = true
param toolRounds = '4'
param sessionWarmUp = 'always'
param turnTimeoutSeconds = '120'
param openAiApiVersion = 'v1'
param reasoningEffort = 'low'
param temperature = '0.2'
param maxCompletionTokens = '4000'
param vision = 'figures'
param logContent = 'true'
param openDataHosts = 'data.example.org,*.open.example'
param traceSampling = '0.1'
param dailyCapGB = 5
param alertEmail = 'operators@example.com'
param agentInstructions = 'Amounts are in Swiss francs.'
param agentTitle = 'Sales figures'
param agentExamples = '["How did revenue develop?"]'
param appSettings = {
  CONVERSATION_MAX_CHARS: '100000'
}
param deployedNetworking = 'public'
