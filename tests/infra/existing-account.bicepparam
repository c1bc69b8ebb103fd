using '../../infra/main.bicep'

// An account of another group and subscription, which already has the deployment.
param environmentName = 'existing-account'
param location = 'swedencentral'
param developerPrincipalId = '44444444-4444-4444-4444-444444444444'
param developerPrincipalType = 'ServicePrincipal'
param existingOpenAiId = '/subscriptions/55555555-5555-5555-5555-555555555555/resourceGroups/rg-models/providers/Microsoft.CognitiveServices/accounts/shared-models'
param modelDeploymentName = 'chat'
param createModelDeployment = false
