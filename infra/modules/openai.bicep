import { tagMap } from 'types.bicep'

@description('Also the custom subdomain: unique in the world, kept for 48 hours after a deletion.')
@minLength(2)
@maxLength(64)
param name string
param location string
param tags tagMap

@description('Bring a soft-deleted account of this name back.')
param restore bool

@description('Reach the account only through a private endpoint.')
param private bool
param endpointSubnetId string
param dnsZoneId string
param workspaceId string

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: { name: 'S0' }
  properties: {
    customSubDomainName: name // Entra tokens are refused on the regional host name
    disableLocalAuth: true // no API keys
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: { defaultAction: private ? 'Deny' : 'Allow' }
    restore: restore
  }
}

module endpoint 'private-endpoint.bicep' = if (private) {
  params: {
    name: 'pe-${name}'
    location: location
    tags: tags
    targetId: account.id
    group: 'account'
    subnetId: endpointSubnetId
    dnsZoneId: dnsZoneId
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: account
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }] // who called when: no prompts, no answers
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
