import { tagMap } from 'types.bicep'

// The app's identity, apart from the app: its roles exist before the app starts, and both hosts
// share it.

param name string
param location string
param tags tagMap

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId
