import { tagMap } from 'types.bicep'

param name string
param location string
param tags tagMap

@description('Resource that is reached through this endpoint.')
param targetId string

@description('Sub-resource of the target: blob, account, ...')
param group string

param subnetId string
param dnsZoneId string

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: { id: subnetId }
    privateLinkServiceConnections: [
      {
        name: group
        properties: {
          privateLinkServiceId: targetId
          groupIds: [group]
        }
      }
    ]
  }

  resource dns 'privateDnsZoneGroups' = {
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: group
          properties: { privateDnsZoneId: dnsZoneId }
        }
      ]
    }
  }
}
