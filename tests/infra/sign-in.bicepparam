using '../../infra/main.bicep'

// Some users and the members of a group sign in with Entra, on either host.
param environmentName = 'sign-in'
param location = 'eastus2'
param containerHost = true
param signInClientId = '33333333-3333-3333-3333-333333333333'
param signInAllowedUsers = '66666666-6666-6666-6666-666666666666, 77777777-7777-7777-7777-777777777777'
param signInAllowedGroups = '88888888-8888-8888-8888-888888888888'
