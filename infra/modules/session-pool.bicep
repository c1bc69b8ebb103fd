import { principal, tagMap } from 'types.bicep'

// Where the model's Python runs. The pool's endpoint is public by nature (there is no private
// endpoint for it): a token and the role below guard it. It has no diagnostic settings either.

@description('Lower-case letters and digits only.')
@minLength(3)
@maxLength(63)
param name string
param location string
param tags tagMap

@description('May run code in sessions of this pool.')
param executors principal[]

@description('Sessions that exist at once; one more is refused with 429.')
@minValue(1)
@maxValue(600)
param maxSessions int

@description('A session ends this many seconds after its last call, with its variables and files.')
@minValue(300)
@maxValue(3600)
param cooldownSeconds int

// Azure ContainerApps Session Executor
var executorRole = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '0fb8eba5-a2bb-4abe-b1c1-49dfad359bb0'
)

resource pool 'Microsoft.App/sessionPools@2025-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    containerType: 'PythonLTS'
    poolManagementType: 'Dynamic'
    dynamicPoolConfiguration: {
      lifecycleConfiguration: {
        lifecycleType: 'Timed'
        cooldownPeriodInSeconds: cooldownSeconds
      }
    }
    scaleConfiguration: { maxConcurrentSessions: maxSessions }
    sessionNetworkConfiguration: {
      status: 'EgressDisabled' // code that a model wrote must not reach the network
    }
  }
}

resource execute 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for p in executors: {
    name: guid(pool.id, p.key, executorRole)
    scope: pool
    properties: {
      roleDefinitionId: executorRole
      principalId: p.id
      principalType: p.type
    }
  }
]

output endpoint string = pool.properties.poolManagementEndpoint
