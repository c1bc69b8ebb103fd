// All that the agent needs, and no key to any of it: a managed identity, Azure OpenAI, a pool of
// code-interpreter sessions, storage, monitoring, and a host: Functions Flex Consumption (the
// default), Functions on Azure Container Apps, both, or none (the services alone, for an app that
// runs on a developer's machine).
//
// Deployed by `azd up` or `az deployment sub create`: docs/deploy.md. Outputs carry the names of the
// app settings that agent/settings.py reads.
targetScope = 'subscription'

import { modelDeployment, principal, principalKind, settingMap, skuName, tagMap } from 'modules/types.bicep'

@description('Name of the environment: part of the resource group\'s name and of every unique suffix.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of everything. It must offer session pools, Flex Consumption and the model; eastus2, swedencentral, westus3, northeurope and australiaeast do.')
@minLength(1)
@metadata({
  azd: {
    type: 'location'
    usageName: ['OpenAI.GlobalStandard.gpt-5.4-mini, 30']
  }
})
param location string

@description('Object id of the developer who runs the app with `az login`: may call the model, run sessions and read conversations, as the app may. Empty: nobody but the app.')
param principalId string = ''

@description('What that developer is; pipelines are a ServicePrincipal.')
param principalType principalKind = 'User'

// The model

@description('Model to deploy: `az cognitiveservices model list --location <region>` lists what a region has.')
@minLength(1)
param modelName string = 'gpt-5.4-mini'

@description('Version of the model.')
@minLength(1)
param modelVersion string = '2026-03-17'

@description('How the model is paid and where it may run.')
param modelSku skuName = 'GlobalStandard'

@description('Thousands of tokens per minute.')
@minValue(1)
param modelCapacity int = 30

@description('Name of the model deployment. Empty: the name of the model.')
param modelDeploymentName string = ''

@description('true brings back an account that was deleted less than 48 hours ago and not purged; fails when there is none.')
param restoreOpenAi bool = false

@description('Resource id of an Azure OpenAI (or Foundry) account to use instead of a new one, in any resource group or subscription of the tenant. It keeps its settings; the roles are assigned on it.')
param existingOpenAiId string = ''

@description('false: the existing account already has the deployment modelDeploymentName.')
param createModelDeployment bool = true

// The sessions

@description('Sessions that exist at once. One is held per conversation until its cooldown ends.')
@minValue(1)
@maxValue(600)
param maxSessions int = 20

@description('A session ends this many seconds after its last call.')
@minValue(300)
@maxValue(3600)
param sessionCooldownSeconds int = 300

// The hosts

@description('Host the app on Functions Flex Consumption.')
param flexHost bool = true

@description('Host the app as a container: Functions on Azure Container Apps.')
param containerHost bool = false

@description('Memory of a Flex Consumption instance. A worker needs about 100 MB, plus what its turns hold.')
param instanceMemoryMB 512 | 2048 | 4096 = 2048

@description('Flex Consumption instances that stay ready: no cold start, and paid while idle.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int = 0

@description('HTTP requests that one Flex Consumption instance serves at once. Without it Python gets 1, and every waiting turn its own instance. A turn mostly waits, for the model and for the pool: measured by `make bench`, one worker gives 50 streams at once their first event within 0.1 s, and 100 turns at once take 1.13 times the least they could.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int = 50

@description('Flex Consumption instances at most.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Container replicas at most.')
@minValue(1)
@maxValue(1000)
param maxReplicas int = 10

@description('Image of the container host. Empty: a placeholder until the first deployment; azd fills it in afterwards, so that provisioning again keeps the app.')
param containerImage string = ''

// Access

@description('Reach storage and a new Azure OpenAI account over private endpoints only. The session pool has none: a token and a role guard it.')
param privateNetworking bool = false

@description('Client id of an Entra app registration that callers must sign in to (App Service Authentication). Empty: function keys only.')
param signInClientId string = ''

var suffix = uniqueString(subscription().id, environmentName, location)
var tags tagMap = { 'azd-env-name': environmentName }
var groupName = 'rg-${environmentName}'
var identityName = 'id-${suffix}'
var openAiName = 'oai-${suffix}'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  scope: group
  params: {
    name: identityName
    location: location
    tags: tags
  }
}

var app principal[] = [
  {
    key: identityName
    id: identity.outputs.principalId
    type: 'ServicePrincipal'
  }
]
var developer principal[] = empty(principalId)
  ? []
  : [{ key: principalId, id: principalId, type: principalType }]

module network 'modules/network.bicep' = if (privateNetworking) {
  scope: group
  params: {
    name: 'vnet-${suffix}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  params: {
    workspaceName: 'log-${suffix}'
    insightsName: 'appi-${suffix}'
    location: location
    tags: tags
    publishers: app
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  params: {
    name: 'st${suffix}'
    location: location
    tags: tags
    hosts: app
    conversationWriters: concat(app, developer)
    private: privateNetworking
    endpointSubnetId: network.?outputs.endpointSubnetId ?? ''
    dnsZoneId: network.?outputs.blobZoneId ?? ''
    workspaceId: monitoring.outputs.workspaceId
  }
}

var bringsOpenAi = !empty(existingOpenAiId)

module openAi 'modules/openai.bicep' = if (!bringsOpenAi) {
  scope: group
  params: {
    name: openAiName
    location: location
    tags: tags
    restore: restoreOpenAi
    private: privateNetworking
    endpointSubnetId: network.?outputs.endpointSubnetId ?? ''
    dnsZoneId: network.?outputs.openAiZoneId ?? ''
    workspaceId: monitoring.outputs.workspaceId
  }
}

var deployment modelDeployment = {
  name: empty(modelDeploymentName) ? modelName : modelDeploymentName
  model: modelName
  version: modelVersion
  sku: modelSku
  capacity: modelCapacity
}

// /subscriptions/<2>/resourceGroups/<4>/providers/Microsoft.CognitiveServices/accounts/<8>
var openAiId = bringsOpenAi
  ? existingOpenAiId
  : '${subscription().id}/resourceGroups/${groupName}/providers/Microsoft.CognitiveServices/accounts/${openAiName}'

module model 'modules/model.bicep' = {
  scope: resourceGroup(split(openAiId, '/')[2], split(openAiId, '/')[4])
  params: {
    accountName: split(openAiId, '/')[8]
    deployment: deployment
    createDeployment: createModelDeployment || !bringsOpenAi
    users: concat(app, developer)
  }
  dependsOn: [openAi] // the account, and its private endpoint: it takes one change at a time
}

module sessions 'modules/session-pool.bicep' = {
  scope: group
  params: {
    name: 'pool${suffix}'
    location: location
    tags: tags
    executors: concat(app, developer)
    maxSessions: maxSessions
    cooldownSeconds: sessionCooldownSeconds
  }
}

// The same on either host. The first six are the host's, the others the app's.
var settings settingMap = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.outputs.clientId
  AzureWebJobsStorage__blobServiceUri: storage.outputs.blobEndpoint
  APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '135266304' // a file of 128 MB, as a session takes it, in a form
  AZURE_CLIENT_ID: identity.outputs.clientId
  AZURE_OPENAI_ENDPOINT: model.outputs.endpoint
  AZURE_OPENAI_CHAT_DEPLOYMENT_NAME: deployment.name
  POOL_MANAGEMENT_ENDPOINT: sessions.outputs.endpoint
  CONVERSATIONS_URL: storage.outputs.conversationsUrl
}

module functions 'modules/functions.bicep' = if (flexHost) {
  scope: group
  params: {
    name: 'func-${suffix}'
    planName: 'plan-${suffix}'
    location: location
    tags: tags
    serviceName: 'api'
    identityName: identityName
    identityClientId: identity.outputs.clientId
    packageContainerUrl: storage.outputs.packageContainerUrl
    privateNetwork: privateNetworking
    subnetId: network.?outputs.functionsSubnetId ?? ''
    settings: settings
    signInClientId: signInClientId
    workspaceId: monitoring.outputs.workspaceId
    maximumInstanceCount: maximumInstanceCount
    instanceMemoryMB: instanceMemoryMB
    alwaysReadyInstances: alwaysReadyInstances
    httpConcurrency: httpConcurrency
  }
}

module container 'modules/container-app.bicep' = if (containerHost) {
  scope: group
  params: {
    name: 'ca-${suffix}'
    environmentName: 'cae-${suffix}'
    registryName: 'cr${suffix}'
    location: location
    tags: tags
    serviceName: 'api-container'
    identityName: identityName
    pullers: app
    image: containerImage
    privateNetwork: privateNetworking
    subnetId: network.?outputs.containersSubnetId ?? ''
    settings: settings
    signInClientId: signInClientId
    workspaceId: monitoring.outputs.workspaceId
    maxReplicas: maxReplicas
  }
}

// What local.settings.json needs to run the app here against these services.
output AZURE_OPENAI_ENDPOINT string = model.outputs.endpoint
output AZURE_OPENAI_CHAT_DEPLOYMENT_NAME string = deployment.name
output POOL_MANAGEMENT_ENDPOINT string = sessions.outputs.endpoint
output CONVERSATIONS_URL string = storage.outputs.conversationsUrl

// What the commands of docs/deploy.md need.
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = functions.?outputs.name ?? ''
output AZURE_CONTAINER_APP_NAME string = container.?outputs.name ?? ''
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = container.?outputs.registry ?? ''
output API_URL string = functions.?outputs.url ?? container.?outputs.url ?? ''
