@export()
@description('Someone who receives a role.')
@sealed()
type principal = {
  @description('Known before the deployment and the same in each one: the name of a role assignment is made of it, so that what-if can predict the assignment.')
  key: string

  @description('Object id in Entra.')
  id: string

  type: principalKind
}

@export()
type principalKind = 'User' | 'ServicePrincipal' | 'Group'

@export()
@description('Tags of a resource.')
type tagMap = {
  *: string
}

@export()
@description('App settings by name.')
type settingMap = {
  *: string
}

@export()
@description('What the model deployment is made of.')
@sealed()
type modelDeployment = {
  @description('Name of the deployment: what the app asks for.')
  name: string
  model: string
  version: string
  sku: skuName

  @description('Thousands of tokens per minute.')
  capacity: int
}

@export()
@description('How the model is paid and where it may run: https://learn.microsoft.com/azure/ai-foundry/foundry-models/concepts/deployment-types')
type skuName = 'GlobalStandard' | 'DataZoneStandard' | 'Standard'

@export()
@description('What anybody may ask for where callers sign in: a probe cannot, and the chat page, which holds nothing secret, is where people do. Each path is written out: whether the platform takes patterns is documented nowhere.')
var openPaths = ['/api/health/live', '/api/ui', '/api/ui/app.js', '/api/ui/style.css']

@export()
@description('Who signs in, and who of them may call.')
@sealed()
type signInOptions = {
  @description('Client id of the Entra app registration that callers sign in to; empty: no sign-in.')
  clientId: string

  @description('Object ids; without users and groups everyone in the tenant may call.')
  users: string[]

  @description('Object ids.')
  groups: string[]
}
