// A real OpenID provider (the npm package oidc-provider, certified by the OpenID Foundation) on this machine, for the
// system tests. Whoever signs in here is who they say: its own pages for development ask for no real password.
//
//     node provider.mjs PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI GROUPS_BY_NAME_AS_JSON

import { Provider } from 'oidc-provider';

const [port, id, secret, redirect, groups] = process.argv.slice(2);
const groupsOf = JSON.parse(groups);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: id, client_secret: secret, redirect_uris: [redirect], grant_types: ['authorization_code'], response_types: ['code'] }],
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  pkce: { methods: ['S256'], required: () => true },
  cookies: { keys: ['of tests alone'] },
  findAccount: (_, name) => ({
    accountId: name,
    claims: () => ({ sub: name, preferred_username: name, groups: groupsOf[name] ?? [] }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
