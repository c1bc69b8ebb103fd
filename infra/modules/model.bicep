import { modelDeployment, principal } from 'types.bicep'

// The model on an Azure OpenAI account, and who may call it. The account is ours (openai.bicep) or
// one that existed before, perhaps in another resource group or subscription.

@description('Azure OpenAI account in this resource group.')
param accountName string

param deployment modelDeployment

@description('false: the account already has a deployment of that name.')
param createDeployment bool

@description('May call the models of the account. There is no narrower scope: roles end at the account.')
param users principal[]

// Cognitive Services OpenAI User
var userRole = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'
)

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: accountName
}

resource model 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = if (createDeployment) {
  parent: account
  name: deployment.name
  sku: {
    name: deployment.sku
    capacity: deployment.capacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: deployment.model
      version: deployment.version
    }
    versionUpgradeOption: 'OnceCurrentVersionExpired'
  }
}

resource use 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for p in users: {
    name: guid(account.id, p.key, userRole)
    scope: account
    properties: {
      roleDefinitionId: userRole
      principalId: p.id
      principalType: p.type
    }
  }
]

output endpoint string = account.properties.endpoint
