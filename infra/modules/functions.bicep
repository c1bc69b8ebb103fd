import { openPaths, settingMap, signInOptions, tagMap } from 'types.bicep'

// The app on Azure Functions, plan Flex Consumption: nothing runs and nothing is paid while nobody
// asks, unless instances are kept ready.

param name string
param planName string
param location string
param tags tagMap

@description('Name of the service in azure.yaml: how azd finds this app.')
param serviceName string

@description('The app\'s identity, in this resource group.')
param identityName string
param identityClientId string

@description('Blob container that holds the deployment package.')
param packageContainerUrl string

param privateNetwork bool

@description('Subnet delegated to Microsoft.App/environments; unused without a private network.')
param subnetId string

param settings settingMap

param signIn signInOptions
param workspaceId string

param maximumInstanceCount int
param instanceMemoryMB 512 | 2048 | 4096
param alwaysReadyInstances int
param httpConcurrency int

// Flex Consumption refuses FUNCTIONS_WORKER_RUNTIME, SCM_DO_BUILD_DURING_DEPLOYMENT,
// WEBSITE_RUN_FROM_PACKAGE and their like: functionAppConfig below says the same.
var buildSettings = {
  // The remote build hands these to pip. requirements.txt is complete, so pip need not follow
  // what Semantic Kernel asks for and the agent never loads: 100 MB installed instead of 500.
  PIP_NO_DEPS: '1'

  // pip writes .pyc files that are checked by content. The usual ones are checked by time, which
  // the package's zip rounds to two seconds: each cold start would compile everything again.
  SOURCE_DATE_EPOCH: '315532800' // 1980-01-01, the oldest time that a zip can hold
}

// Sign-in without a secret: App Service proves itself to Entra with the app's managed identity.
// https://learn.microsoft.com/azure/app-service/configure-authentication-provider-aad#use-a-managed-identity-instead-of-a-secret-preview
var signsIn = !empty(signIn.clientId)
var signInSettings = signsIn ? { OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identityClientId } : {}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true // Linux
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': serviceName })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    virtualNetworkSubnetId: privateNetwork ? subnetId : null
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      appSettings: map(
        items(union(settings, buildSettings, signInSettings)),
        s => { name: s.key, value: s.value }
      )
    }
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstanceCount
        instanceMemoryMB: instanceMemoryMB
        alwaysReady: alwaysReadyInstances > 0
          ? [{ name: 'http', instanceCount: alwaysReadyInstances }]
          : []
        triggers: {
          http: { perInstanceConcurrency: httpConcurrency }
        }
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
    }
  }
}

// Deployment takes Entra tokens; user names and passwords stay off. Two resources, because a loop
// over the names would leave them unchecked by the compiler.
resource noFtpPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource noScmPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

// Always there: a deployment does not delete what it no longer names, so only this switches a
// sign-in off that was on before.
resource auth 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: signsIn }
    globalValidation: signsIn
      ? {
          requireAuthentication: true
          unauthenticatedClientAction: 'Return401'
          excludedPaths: openPaths
        }
      : { requireAuthentication: false, unauthenticatedClientAction: 'AllowAnonymous' }
    identityProviders: signsIn
      ? {
          azureActiveDirectory: {
            enabled: true
            registration: {
              clientId: signIn.clientId
              clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
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
    login: {
      tokenStore: { enabled: false } // the app needs to know who asks, not to act for them
    }
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: app
  properties: {
    workspaceId: workspaceId
    // The log, once: with PYTHON_ENABLE_OPENTELEMETRY the host leaves the worker's lines out of what
    // it sends to Application Insights (AppTraces), and host.json leaves out its own.
    // https://github.com/Azure/azure-functions-host (OpenTelemetryConfigurationExtensions)
    logs: [{ category: 'FunctionAppLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
