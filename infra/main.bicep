// All that the agent needs, and no key to any of it: a managed identity, Azure OpenAI, a pool of
// code-interpreter sessions, storage, monitoring, and a host: Functions Flex Consumption (the
// default), Functions on Azure Container Apps, both, or none (the services alone, for an app that
// runs on a developer's machine).
//
// Deployed by `azd up` or `az deployment sub create`: docs/deploy.md. Outputs carry the names of the
// app settings that agent/settings.py reads.
targetScope = 'subscription'

import {
  modelDeployment
  principal
  principalKind
  settingMap
  signInOptions
  skuName
  tagMap
} from 'modules/types.bicep'

@description('Name of the environment: part of the resource group\'s name and of every unique suffix.')
@minLength(1)
@maxLength(64)
param environmentName string

// No quota hint for azd (`usageName`): it is fixed when the template is compiled, so it would name the
// wrong model where MODEL_NAME is set, and a model where an existing account needs no quota at all.
// azd asks for the quota of the deployment that is really made before it makes anything.
@description('Region of everything. Each of these has session pools, Flex Consumption and the default model.')
@allowed([
  'australiaeast'
  'brazilsouth'
  'canadacentral'
  'centralus'
  'eastus'
  'eastus2'
  'francecentral'
  'germanywestcentral'
  'italynorth'
  'japaneast'
  'koreacentral'
  'northcentralus'
  'norwayeast'
  'southafricanorth'
  'southeastasia'
  'southindia'
  'spaincentral'
  'swedencentral'
  'uaenorth'
  'uksouth'
  'westeurope'
  'westus'
  'westus3'
])
@metadata({ azd: { type: 'location' } })
param location string

@description('Object id of a developer who runs the app with `az login`: may call the model, run sessions and read conversations, as the app may. Empty: nobody but the app.')
param developerPrincipalId string = ''

@description('What DEVELOPER_PRINCIPAL_ID belongs to.')
param developerPrincipalType principalKind = 'User'

// The model

@description('Model to deploy: `az cognitiveservices model list --location <region>` lists what a region has.')
@minLength(1)
param modelName string = 'gpt-5.4-mini'

@description('Version of the model.')
@minLength(1)
param modelVersion string = '2026-03-17'

@description('How the model is paid and where it may run.')
param modelSku skuName = 'GlobalStandard'

@description('Thousands of tokens per minute. 500 carry one turn at its limits: 200,000 characters of history, about 50,000 tokens, are read again in each of the 9 calls that 8 tool rounds allow. GlobalStandard is paid by the token; this number costs nothing.')
@minValue(1)
param modelCapacity int = 500

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

@description('Memory of a Flex Consumption instance. A worker takes 100 MB, 170 MB with 100 turns at once, and up to 600 MB where callers send, or go on with, many long histories at once: 512 is for apps without those.')
param instanceMemoryMB 512 | 2048 | 4096 = 2048

@description('Flex Consumption instances that stay ready: no cold start, and paid while idle.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int = 0

@description('HTTP requests that one Flex Consumption instance serves at once. Without it Python gets 1, and every waiting turn its own instance. A turn mostly waits, for the model and for the pool: measured by `make bench`, one worker gives 50 streams at once their first event within 0.1 s, and 100 turns at once take 1.1 times the least they could, in 160 MB.')
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

// App settings. A list of app settings is replaced as a whole, so that a setting that was made by hand
// is gone after the next deployment: what an operator changes is a parameter. Empty: the default of
// agent/settings.py, and no app setting.

@description('App setting TOOL_ROUNDS: how often the model may run code before it must answer.')
param toolRounds string = ''

@description('App setting SESSION_WARM_UP: whose session is allocated beside the model\'s first call, which hides up to some seconds. conversations: of those whose code ran in one before. always: of every turn, also one that then runs no code; a session is billed by the hour.')
param sessionWarmUp '' | 'never' | 'conversations' | 'always' = ''

@description('App setting TURN_TIMEOUT_SECONDS: seconds for a whole turn.')
param turnTimeoutSeconds string = ''

@description('App setting AZURE_OPENAI_API_VERSION: a dated version of the data plane, or v1.')
param openAiApiVersion string = ''

@description('App setting AZURE_OPENAI_REASONING_EFFORT: how long a reasoning model thinks.')
param reasoningEffort string = ''

@description('App setting AZURE_OPENAI_TEMPERATURE: for models that take one.')
param temperature string = ''

@description('App setting AZURE_OPENAI_MAX_COMPLETION_TOKENS: the longest answer of one model call.')
param maxCompletionTokens string = ''

@description('App setting AZURE_OPENAI_VISION: whether the model sees pictures in questions, and with figures also those that its code made. Empty: questions for a model that is known to see, none for any other.')
param vision '' | 'none' | 'questions' | 'figures' = ''

@description('App setting LOG_CONTENT: true also logs questions, code and outputs.')
param logContent '' | 'true' | 'false' = ''

@description('App setting OPEN_DATA_HOSTS: hosts of the web whose files the model may fetch into a session, and from which pictures of questions are fetched, as data.example.org or *.example.org, separated by commas. Empty: none.')
param openDataHosts string = ''

@description('App setting OTEL_TRACES_SAMPLER_ARG: the share of turns whose spans are sent, from 0 to 1, where the caller\'s trace does not say. Empty: all. Metrics count everything.')
param traceSampling string = ''

@description('App setting AGENT_INSTRUCTIONS: what the model reads after the built-in instructions; a text, or file: and a path in the app.')
param agentInstructions string = ''

@description('App setting AGENT_TITLE: what the chat page is called.')
param agentTitle string = ''

@description('App setting AGENT_EXAMPLES: questions that the chat page proposes; a JSON list, or one on each line.')
param agentExamples string = ''

@description('Any other app setting by its name; values are text.')
param appSettings settingMap = {}

// Monitoring

@description('GB a day that the Log Analytics workspace takes at most; what comes then is lost until the next day. -1: no cap.')
@minValue(-1)
param dailyCapGB int = 1

@description('Address that gets alerts of failing, slow and throttled turns: three log alerts, which cost about 1.50 USD a month each. Empty: none.')
param alertEmail string = ''

// Access

@description('Reach storage and a new Azure OpenAI account over private endpoints only; for the first deployment of an environment only. The session pool has none: a token and a role guard it.')
param privateNetworking bool = false

@description('Client id of an Entra app registration that callers must sign in to (App Service Authentication); nobody needs a function key then. Empty: function keys, and a sign-in that was there before is switched off.')
param signInClientId string = ''

@description('Object ids of the users who may call, separated by commas. Empty, like the groups: everyone in the tenant.')
param signInAllowedUsers string = ''

@description('Object ids of the groups whose members may call, separated by commas.')
param signInAllowedGroups string = ''

// What an earlier deployment of this environment left; azd fills it in from the outputs.

@description('Networking of the earlier deployment: it cannot be changed afterwards.')
param deployedNetworking '' | 'public' | 'private' = ''

@description('Function app that an earlier deployment made on Flex Consumption.')
param deployedFunctionApp string = ''

// Refusals: each names the variable of azd and what to do. A deployment ends with the first of them,
// before anything is made.

var checkedName = endsWith(environmentName, '.') || contains(environmentName, ' ')
  ? fail('AZURE_ENV_NAME (environmentName) is part of the name of the resource group, which must not end in a dot or hold a space: choose another name.')
  : environmentName

var networking = privateNetworking ? 'private' : 'public'
var networkingFits = empty(deployedNetworking) || deployedNetworking == networking
  ? networking
  : fail('PRIVATE_NETWORKING (privateNetworking) cannot be changed after the first deployment: this environment is ${deployedNetworking}. Set it back, or make a new environment with `azd env new`.')

var accountPath = split(toLower(existingOpenAiId), '/')
var accountPathFits = length(accountPath) == 9 && accountPath[1] == 'subscriptions' && accountPath[3] == 'resourcegroups' && '${accountPath[6]}/${accountPath[7]}' == 'microsoft.cognitiveservices/accounts' && !empty(accountPath[8])
var existingAccountId = empty(existingOpenAiId) || accountPathFits
  ? existingOpenAiId
  : fail('EXISTING_OPENAI_ID (existingOpenAiId) is not the resource id of an Azure OpenAI account: it reads /subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.CognitiveServices/accounts/<name>, as `az cognitiveservices account show --query id` prints it.')

var allowedUsers = filter(map(split(signInAllowedUsers, ','), id => trim(id)), id => !empty(id))
var allowedGroups = filter(map(split(signInAllowedGroups, ','), id => trim(id)), id => !empty(id))
var allowedPrincipals = concat(allowedUsers, allowedGroups)
var signIn signInOptions = empty(signInClientId) && !empty(allowedPrincipals)
  ? fail('SIGN_IN_ALLOWED_USERS and SIGN_IN_ALLOWED_GROUPS admit nobody without a sign-in: set SIGN_IN_CLIENT_ID (signInClientId) too, or clear them.')
  : !empty(filter(
        concat(allowedPrincipals, empty(signInClientId) ? [] : [signInClientId]),
        id => length(id) != 36
      ))
      ? fail('SIGN_IN_CLIENT_ID, SIGN_IN_ALLOWED_USERS and SIGN_IN_ALLOWED_GROUPS take ids of 36 characters, as in 00000000-0000-0000-0000-000000000000: the client id of the app registration, and object ids of users and groups, not names.')
      : { clientId: signInClientId, users: allowedUsers, groups: allowedGroups }

var suffix = uniqueString(subscription().id, checkedName, location)
var tags tagMap = { 'azd-env-name': checkedName }
var groupName = 'rg-${checkedName}'
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
var developer principal[] = empty(developerPrincipalId)
  ? []
  : [{ key: developerPrincipalId, id: developerPrincipalId, type: developerPrincipalType }]

var bringsOpenAi = !empty(existingAccountId)

module network 'modules/network.bicep' = if (networkingFits == 'private') {
  scope: group
  params: {
    name: 'vnet-${suffix}'
    location: location
    tags: tags
    openAi: !bringsOpenAi
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  params: {
    workspaceName: 'log-${suffix}'
    insightsName: 'appi-${suffix}'
    location: location
    tags: tags
    dailyCapGB: dailyCapGB
    publishers: app
  }
}

module operations 'modules/operations.bicep' = {
  scope: group
  params: {
    workbookTitle: 'Code interpreter, ${checkedName}'
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    alertEmail: alertEmail
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
  ? existingAccountId
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

// https://learn.microsoft.com/azure/ai-foundry/openai/how-to/gpt-with-vision; what is not listed there
// is told the names of pictures.
var knownToSee = contains(['o1', 'o3', 'o4-mini'], modelName) || !empty(filter(
  ['gpt-4o', 'gpt-4.1', 'gpt-4.5', 'gpt-5'],
  family => startsWith(modelName, family)
))

// The same on either host. The first ten are the host's or the exporter's, the others the app's.
var ownSettings settingMap = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.outputs.clientId
  AzureWebJobsStorage__blobServiceUri: storage.outputs.blobEndpoint
  APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
  APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED: 'true' // the exporter asks nobody how it should behave,
  APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL: 'true' // and reports nothing about itself
  OTEL_TRACES_SAMPLER: 'parentbased_traceidratio'
  PYTHON_ENABLE_OPENTELEMETRY: 'true' // the worker hangs a turn's spans on the host's request
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '135266304' // a file of 128 MB, as a session takes it, in a form
  AZURE_CLIENT_ID: identity.outputs.clientId
  AZURE_OPENAI_ENDPOINT: model.outputs.endpoint
  AZURE_OPENAI_CHAT_DEPLOYMENT_NAME: deployment.name
  AZURE_OPENAI_VISION: empty(vision) ? (knownToSee ? 'questions' : 'none') : vision
  POOL_MANAGEMENT_ENDPOINT: sessions.outputs.endpoint
  CONVERSATIONS_URL: storage.outputs.conversationsUrl
}

var operatorSettings settingMap = {
  AGENT_EXAMPLES: agentExamples
  AGENT_INSTRUCTIONS: agentInstructions
  AGENT_TITLE: agentTitle
  AZURE_OPENAI_API_VERSION: openAiApiVersion
  AZURE_OPENAI_MAX_COMPLETION_TOKENS: maxCompletionTokens
  AZURE_OPENAI_REASONING_EFFORT: reasoningEffort
  AZURE_OPENAI_TEMPERATURE: temperature
  LOG_CONTENT: logContent
  OPEN_DATA_HOSTS: openDataHosts
  OTEL_TRACES_SAMPLER_ARG: traceSampling
  SESSION_WARM_UP: sessionWarmUp
  TOOL_ROUNDS: toolRounds
  TURN_TIMEOUT_SECONDS: turnTimeoutSeconds
}

// The app asserts this one: it then trusts the headers of App Service Authentication, answers 401
// without them, asks for no function key, and does not start where the platform's switch is off.
var signInSettings settingMap = empty(signIn.clientId) ? {} : { SIGN_IN_REQUIRED: 'true' }

// Names that this template writes itself, here or for one of the hosts.
var reservedSettings = concat(
  [
    'AzureWebJobsStorage'
    'AzureWebJobsStorage__blobServiceUri'
    'AzureWebJobsStorage__clientId'
    'AzureWebJobsStorage__credential'
    'APPLICATIONINSIGHTS_AUTHENTICATION_STRING'
    'APPLICATIONINSIGHTS_CONNECTION_STRING'
    'APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED'
    'APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL'
    'AZURE_CLIENT_ID'
    'AZURE_OPENAI_CHAT_DEPLOYMENT_NAME'
    'AZURE_OPENAI_ENDPOINT'
    'AZURE_OPENAI_VISION'
    'AzureFunctionsWebHost__hostid'
    'AzureWebJobsSecretStorageType'
    'CONVERSATIONS_URL'
    'FUNCTIONS_REQUEST_BODY_SIZE_LIMIT'
    'OTEL_TRACES_SAMPLER'
    'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
    'PIP_NO_DEPS'
    'POOL_MANAGEMENT_ENDPOINT'
    'PYTHON_ENABLE_OPENTELEMETRY'
    'SIGN_IN_REQUIRED'
    'SOURCE_DATE_EPOCH'
    'WEBSITE_AUTH_ENABLED'
  ],
  objectKeys(operatorSettings)
)
var collisions = filter(
  objectKeys(appSettings),
  name => contains(map(reservedSettings, r => toLower(r)), toLower(name))
)
var otherSettings settingMap = empty(collisions)
  ? appSettings
  : fail('APP_SETTINGS (appSettings) must not hold ${join(collisions, ', ')}: infra/main.bicep writes it. docs/deploy.md has the option for it, if there is one.')

var settings settingMap = union(
  otherSettings,
  toObject(filter(items(operatorSettings), s => !empty(s.value)), s => s.key, s => s.value),
  ownSettings,
  signInSettings
)

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
    signIn: signIn
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
    signIn: signIn
    workspaceId: monitoring.outputs.workspaceId
    maxReplicas: maxReplicas
  }
}

// What local.settings.json needs to run the app here against these services.
output AZURE_OPENAI_ENDPOINT string = model.outputs.endpoint
output AZURE_OPENAI_CHAT_DEPLOYMENT_NAME string = deployment.name
output POOL_MANAGEMENT_ENDPOINT string = sessions.outputs.endpoint
output CONVERSATIONS_URL string = storage.outputs.conversationsUrl

// What the commands of docs/deploy.md and the hooks of azure.yaml need.
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = functions.?outputs.name ?? ''
output AZURE_CONTAINER_APP_NAME string = container.?outputs.name ?? ''
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = container.?outputs.registry ?? ''
output API_URL string = functions.?outputs.url ?? container.?outputs.url ?? ''

// What the next deployment needs to know of this one.
output DEPLOYED_NETWORKING string = networkingFits
output DEPLOYED_FUNCTION_APP string = functions.?outputs.name ?? deployedFunctionApp
