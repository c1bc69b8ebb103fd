using '../../infra/main.bicep'

// A private network, and an account that has its endpoint elsewhere or none.
param environmentName = 'private-existing'
param location = 'westus3'
param privateNetworking = true
param existingOpenAiId = '/subscriptions/55555555-5555-5555-5555-555555555555/resourceGroups/RG-Models/providers/Microsoft.CognitiveServices/accounts/shared-models'
