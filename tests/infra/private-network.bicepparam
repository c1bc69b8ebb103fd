using '../../infra/main.bicep'

// Both hosts in the network, and the settings of a busy app.
param environmentName = 'private-network'
param location = 'westus3'
param developerPrincipalId = '22222222-2222-2222-2222-222222222222'
param developerPrincipalType = 'Group'
param containerHost = true
param privateNetworking = true
param alwaysReadyInstances = 2
param instanceMemoryMB = 4096
param httpConcurrency = 32
param maximumInstanceCount = 100
param maxSessions = 200
param sessionCooldownSeconds = 900
