import { openPaths, principal, settingMap, signInOptions, tagMap } from 'types.bicep'

// The same app as a container: Functions on Azure Container Apps.
// https://learn.microsoft.com/azure/container-apps/functions-overview

param name string
param environmentName string

@minLength(5)
@maxLength(50)
param registryName string
param location string
param tags tagMap

@description('Name of the service in azure.yaml: how azd finds this app.')
param serviceName string

@description('The app\'s identity, in this resource group.')
param identityName string

@description('May pull images: the app\'s identity.')
param pullers principal[]

@description('Image to run; empty: a public placeholder, until the first deployment replaces it.')
param image string

param privateNetwork bool

@description('Subnet delegated to Microsoft.App/environments; unused without a private network.')
param subnetId string

param settings settingMap

param signIn signInOptions
param workspaceId string

@minValue(1)
@maxValue(1000)
param maxReplicas int

// AcrPull
var pullRole = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '7f951dda-4ed3-4680-a7ca-43fe172d538d'
)

var signsIn = !empty(signIn.clientId)
var hostSettings = {
  // Function keys live in the storage account. `files` would make new ones in every replica, and
  // Container Apps' own secret store wants them written into this template.
  AzureWebJobsSecretStorageType: 'blob'

  // Keys are stored under the host's id, which the host would otherwise make of the name of the
  // replica it happens to run in: pinned, a key is valid in all of them and survives a new revision.
  AzureFunctionsWebHost__hostid: name
}

// App Service sets this by itself; Container Apps, whose sign-in sends the same headers, does not.
var signInSettings = signsIn ? { WEBSITE_AUTH_ENABLED: 'True' } : {}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: registryName
  location: location
  tags: tags
  sku: { name: 'Basic' }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
  }
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for p in pullers: {
    name: guid(registry.id, p.key, pullRole)
    scope: registry
    properties: {
      roleDefinitionId: pullRole
      principalId: p.id
      principalType: p.type
    }
  }
]

resource managedEnvironment 'Microsoft.App/managedEnvironments@2025-07-01' = {
  name: environmentName
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: { destination: 'azure-monitor' } // by diagnostic setting: no workspace key
    workloadProfiles: [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
    vnetConfiguration: privateNetwork ? { infrastructureSubnetId: subnetId, internal: false } : null
  }
}

resource app 'Microsoft.App/containerApps@2025-07-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': serviceName })
  kind: 'functionapp'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    environmentId: managedEnvironment.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        external: true
        targetPort: 80
        allowInsecure: false
      }
      registries: [{ server: registry.properties.loginServer, identity: identity.id }]
    }
    template: {
      containers: [
        {
          name: 'main'
          image: empty(image)
            ? 'mcr.microsoft.com/azuredocs/containerapps-helloworld:latest'
            : image
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          env: map(
            items(union(settings, hostSettings, signInSettings)),
            s => { name: s.key, value: s.value }
          )
        }
      ]
      scale: {
        minReplicas: 0
        maxReplicas: maxReplicas
      }
    }
  }
  dependsOn: [pull] // a revision that cannot pull its image fails
}

// Only tokens are validated here, for which no secret is needed; browsers get an ID token. Always there,
// so that a deployment without sign-in switches an earlier one off.
resource auth 'Microsoft.App/containerApps/authConfigs@2025-07-01' = {
  parent: app
  name: 'current'
  properties: {
    platform: { enabled: signsIn }
    globalValidation: signsIn
      ? {
          unauthenticatedClientAction: 'Return401'
          excludedPaths: openPaths
        }
      : { unauthenticatedClientAction: 'AllowAnonymous' }
    identityProviders: signsIn
      ? {
          azureActiveDirectory: {
            enabled: true
            registration: {
              clientId: signIn.clientId
              openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
            }
            validation: {
              allowedAudiences: [signIn.clientId, 'api://${signIn.clientId}']
              defaultAuthorizationPolicy: empty(concat(signIn.users, signIn.groups))
                ? {}
                : { allowedPrincipals: { identities: signIn.users, groups: signIn.groups } }
            }
          }
        }
      : {}
  }
}

resource environmentLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: managedEnvironment
  properties: {
    workspaceId: workspaceId
    // What the container prints is the log, once: Application Insights has none, see functions.bicep.
    logs: [
      { category: 'ContainerAppConsoleLogs', enabled: true }
      { category: 'ContainerAppSystemLogs', enabled: true }
    ]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource registryLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: registry
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output name string = app.name
output url string = 'https://${app.properties.configuration.ingress.fqdn}'
output registry string = registry.properties.loginServer
