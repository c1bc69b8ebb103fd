import { principal, tagMap } from 'types.bicep'

// One account for the Functions host (its locks and keys), the deployment package and the
// conversations.

@minLength(3)
@maxLength(24)
param name string
param location string
param tags tagMap

@description('The Functions host: makes its own containers, reads the package.')
param hosts principal[]

@description('May read and write conversations.')
param conversationWriters principal[]

@description('Reach the account only through a private endpoint.')
param private bool
param endpointSubnetId string
param dnsZoneId string
param workspaceId string

// Storage Blob Data Owner: what the host's AzureWebJobsStorage needs, on the account, because the host
// makes containers: https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity
var ownerRole = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
)

// Storage Blob Data Contributor
var contributorRole = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
)

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: private ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
    }
  }

  resource blobs 'blobServices' = {
    name: 'default'

    // Flex Consumption does not make this container itself.
    resource package 'containers' = {
      name: 'app-package'
    }

    resource conversations 'containers' = {
      name: 'conversations'
    }
  }
}

resource host 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for p in hosts: {
    name: guid(account.id, p.key, ownerRole)
    scope: account
    properties: {
      roleDefinitionId: ownerRole
      principalId: p.id
      principalType: p.type
    }
  }
]

resource converse 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for p in conversationWriters: {
    name: guid(account::blobs::conversations.id, p.key, contributorRole)
    scope: account::blobs::conversations
    properties: {
      roleDefinitionId: contributorRole
      principalId: p.id
      principalType: p.type
    }
  }
]

module endpoint 'private-endpoint.bicep' = if (private) {
  params: {
    name: 'pe-${name}'
    location: location
    tags: tags
    targetId: account.id
    group: 'blob'
    subnetId: endpointSubnetId
    dnsZoneId: dnsZoneId
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: account::blobs
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

output blobEndpoint string = account.properties.primaryEndpoints.blob
output packageContainerUrl string = '${account.properties.primaryEndpoints.blob}${account::blobs::package.name}'
output conversationsUrl string = '${account.properties.primaryEndpoints.blob}${account::blobs::conversations.name}'
