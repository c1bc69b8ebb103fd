import { tagMap } from 'types.bicep'

// Private networking: a subnet for each host and one for private endpoints, with the DNS zones that
// make the services' ordinary names lead to them.

param name string
param location string
param tags tagMap

@description('Make the zone of Azure OpenAI: only for an account that gets its endpoint here. An empty zone would make an existing account, which may have an endpoint elsewhere, resolve to nothing.')
param openAi bool

var blobZone = 'privatelink.blob.${environment().suffixes.storage}'
var openAiZone = 'privatelink.openai.azure.com'
var zones = concat([blobZone], openAi ? [openAiZone] : [])

resource vnet 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.0.0.0/16'] }
    subnets: [
      {
        name: 'functions'
        properties: {
          addressPrefix: '10.0.0.0/24'
          delegations: [
            {
              name: 'flex' // Flex Consumption runs on Container Apps, not in Microsoft.Web/serverFarms
              properties: { serviceName: 'Microsoft.App/environments' }
            }
          ]
        }
      }
      {
        name: 'containers'
        properties: {
          addressPrefix: '10.0.1.0/24'
          delegations: [
            {
              name: 'environment'
              properties: { serviceName: 'Microsoft.App/environments' }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: '10.0.2.0/24'
          privateEndpointNetworkPolicies: 'Disabled'
        }
      }
    ]
  }

  resource functions 'subnets' existing = { name: 'functions' }
  resource containers 'subnets' existing = { name: 'containers' }
  resource endpoints 'subnets' existing = { name: 'endpoints' }
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for z in zones: {
    name: z
    location: 'global'
    tags: tags
  }
]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (z, i) in zones: {
    parent: zone[i]
    name: name
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      resolutionPolicy: 'NxDomainRedirect' // a name that the zone has not is asked for outside
      virtualNetwork: { id: vnet.id }
    }
  }
]

output functionsSubnetId string = vnet::functions.id
output containersSubnetId string = vnet::containers.id
output endpointSubnetId string = vnet::endpoints.id
output blobZoneId string = zone[0].id
output openAiZoneId string = openAi ? zone[1].id : ''
