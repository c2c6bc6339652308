#include <filesystem>
#include <memory>

#include "absl/time/clock.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/crypto/ec_key.h"
#include "common/token/workload.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "postern/v1/identity.grpc.pb.h"

namespace postern::cli {
namespace {

// 90 days: long enough to plan a rotation, short enough that it happens.
constexpr absl::Duration kDefaultKeyLifetime = absl::Hours(24 * 90);

absl::Status Keygen(const std::string& path) {
  if (std::filesystem::exists(path)) {
    return Usage(fmt::format("{} exists", path), "choose another name: a key is never overwritten");
  }
  POSTERN_ASSIGN_OR_RETURN(const crypto::EcPrivateKey key, crypto::EcPrivateKey::Generate());
  POSTERN_RETURN_IF_ERROR(WritePrivateFile(path, key.ToPem().Expose()));
  PrintLine(key.public_key().ToPem());
  return absl::OkStatus();
}

struct AccountOptions {
  std::string id, kind, groups, owner, may_act_for, key_file, expires;
};

absl::StatusOr<v1::AccountKey> ReadKey(const std::string& path, const std::string& lifetime) {
  v1::AccountKey key;
  POSTERN_ASSIGN_OR_RETURN(*key.mutable_public_key_pem(), ReadFile(path));
  absl::Duration left = kDefaultKeyLifetime;
  if (!lifetime.empty()) {
    POSTERN_ASSIGN_OR_RETURN(left, ParseDuration(lifetime));
  }
  *key.mutable_expire_time() = ToProto(absl::Now() + left);
  return key;
}

void PrintAccount(const Client& client, const v1::Account& account) {
  if (client.json) {
    PrintLine(ToJson(account));
    return;
  }
  PrintLine(fmt::format("{} ({}{}), groups {}, {} key(s){}", account.id(),
                        account.kind() == v1::PERSON ? "person" : "agent", account.disabled() ? ", disabled" : "",
                        account.groups().empty() ? "none" : fmt::format("{}", fmt::join(account.groups(), ", ")),
                        account.keys_size(), account.owner().empty() ? "" : ", owner " + account.owner()));
}

absl::Status AddAccount(Client& client, const AccountOptions& options) {
  v1::CreateAccountRequest request;
  v1::Account* account = request.mutable_account();
  account->set_id(options.id);
  account->set_kind(options.kind == "person" ? v1::PERSON : v1::AGENT);
  account->set_owner(options.owner);
  for (std::string& group : SplitCommas(options.groups)) account->add_groups(std::move(group));
  for (std::string& person : SplitCommas(options.may_act_for)) account->add_may_act_for(std::move(person));
  if (!options.key_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(*account->add_keys(), ReadKey(options.key_file, options.expires));
  }
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::IdentityService>();
  POSTERN_ASSIGN_OR_RETURN(const v1::Account created, Call(*stub, &v1::IdentityService::Stub::CreateAccount, request));
  PrintAccount(client, created);
  return absl::OkStatus();
}

absl::Status ListAccounts(Client& client) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::IdentityService>();
  v1::ListAccountsRequest request;
  v1::ListAccountsResponse all;
  do {
    POSTERN_ASSIGN_OR_RETURN(v1::ListAccountsResponse page,
                             Call(*stub, &v1::IdentityService::Stub::ListAccounts, request));
    all.mutable_accounts()->MergeFrom(page.accounts());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"ID", "KIND", "GROUPS", "OWNER", "KEYS", "STATE"});
  for (const v1::Account& account : all.accounts()) {
    table.Add({account.id(), account.kind() == v1::PERSON ? "person" : "agent",
               fmt::format("{}", fmt::join(account.groups(), ",")), account.owner(),
               std::to_string(account.keys_size()), account.disabled() ? "disabled" : "active"});
  }
  table.Print("no accounts");
  return absl::OkStatus();
}

absl::Status SetDisabled(Client& client, const std::string& id, bool disabled) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::IdentityService>();
  v1::GetAccountRequest get;
  get.set_id(id);
  v1::UpdateAccountRequest request;
  POSTERN_ASSIGN_OR_RETURN(*request.mutable_account(), Call(*stub, &v1::IdentityService::Stub::GetAccount, get));
  request.mutable_account()->set_disabled(disabled);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::Account account, Call(*stub, &v1::IdentityService::Stub::UpdateAccount, request));
  PrintAccount(client, account);
  return absl::OkStatus();
}

void AddAccountCommands(CLI::App& group, Env& env) {
  auto options = std::make_shared<AccountOptions>();
  CLI::App* add =
      Leaf(group, env, "add", "Add a person or an agent that proves itself by its own key",
           "  postern identity keygen support-bot.pem > support-bot.pub\n"
           "  postern identity add support-bot --kind agent --groups agents --owner alice --key support-bot.pub",
           [&env, options] { return AddAccount(env.client, *options); });
  add->add_option("id", options->id, "Account id")->required();
  add->add_option("--kind", options->kind, "person or agent")->required()->check(CLI::IsMember({"person", "agent"}));
  add->add_option("--groups", options->groups, "Groups, comma separated");
  add->add_option("--owner", options->owner, "Who answers for an agent; never approves its requests");
  add->add_option("--may-act-for", options->may_act_for,
                  "People that an agent may act for, comma separated, * allowed");
  add->add_option("--key", options->key_file, "PEM of its public key (P-256)");
  add->add_option("--key-lifetime", options->expires, "How long the key is good for; default 90d, at most 400d");

  Leaf(group, env, "list", "List accounts", "  postern identity list", [&env] { return ListAccounts(env.client); });

  for (const bool disable : {true, false}) {
    auto id = std::make_shared<std::string>();
    Leaf(group, env, disable ? "disable" : "enable",
         disable ? "Disable an account; an agent's grants are revoked" : "Enable an account again",
         disable ? "  postern identity disable support-bot" : "  postern identity enable support-bot",
         [&env, id, disable] { return SetDisabled(env.client, *id, disable); })
        ->add_option("id", *id, "Account id")
        ->required();
  }
}

void AddKeyCommands(CLI::App& group, Env& env) {
  auto path = std::make_shared<std::string>();
  Leaf(group, env, "keygen", "Make a key: the private half goes to FILE (mode 0600), the public half to stdout",
       "  postern identity keygen support-bot.pem > support-bot.pub", [path] { return Keygen(*path); })
      ->add_option("file", *path, "Where the private key goes")
      ->required();

  struct KeyOptions {
    std::string account, file, lifetime, key_id;
  };
  auto add = std::make_shared<KeyOptions>();
  CLI::App* add_key = Leaf(group, env, "add-key", "Give an account another key, to rotate",
                           "  postern identity add-key support-bot --key new.pub", [&env, add]() -> absl::Status {
                             v1::AddAccountKeyRequest request;
                             request.set_account_id(add->account);
                             POSTERN_ASSIGN_OR_RETURN(*request.mutable_key(), ReadKey(add->file, add->lifetime));
                             request.set_request_id(NewUuid(Random::System()));
                             POSTERN_RETURN_IF_ERROR(env.client.Connect());
                             auto stub = env.client.Stub<v1::IdentityService>();
                             POSTERN_ASSIGN_OR_RETURN(const v1::Account account,
                                                      Call(*stub, &v1::IdentityService::Stub::AddAccountKey, request));
                             PrintAccount(env.client, account);
                             return absl::OkStatus();
                           });
  add_key->add_option("id", add->account, "Account id")->required();
  add_key->add_option("--key", add->file, "PEM of the public key (P-256)")->required();
  add_key->add_option("--key-lifetime", add->lifetime, "How long the key is good for; default 90d");

  auto remove = std::make_shared<KeyOptions>();
  CLI::App* remove_key =
      Leaf(group, env, "remove-key", "Take a key from an account", "  postern identity remove-key support-bot KEY_ID",
           [&env, remove]() -> absl::Status {
             v1::RemoveAccountKeyRequest request;
             request.set_account_id(remove->account);
             request.set_key_id(remove->key_id);
             request.set_request_id(NewUuid(Random::System()));
             POSTERN_RETURN_IF_ERROR(env.client.Connect());
             auto stub = env.client.Stub<v1::IdentityService>();
             POSTERN_ASSIGN_OR_RETURN(const v1::Account account,
                                      Call(*stub, &v1::IdentityService::Stub::RemoveAccountKey, request));
             PrintAccount(env.client, account);
             return absl::OkStatus();
           });
  remove_key->add_option("id", remove->account, "Account id")->required();
  remove_key->add_option("key", remove->key_id, "Key id")->required();
}

struct ProviderOptions {
  std::string name, issuer, audiences, algorithms, jwks_file, kind, id_claim, groups_claim, groups, agent_id, ca_file;
  std::vector<std::string> required;
  bool loopback_http = false;
};

absl::Status AddProvider(Client& client, const ProviderOptions& options) {
  v1::CreateIdentityProviderRequest request;
  v1::IdentityProvider* provider = request.mutable_provider();
  provider->set_name(options.name);
  provider->set_issuer(options.issuer);
  provider->set_kind(options.kind == "person" ? v1::PERSON : v1::AGENT);
  provider->set_id_claim(options.id_claim);
  provider->set_groups_claim(options.groups_claim);
  provider->set_agent_id(options.agent_id);
  provider->set_allow_loopback_http(options.loopback_http);
  for (std::string& audience : SplitCommas(options.audiences)) provider->add_audiences(std::move(audience));
  for (std::string& algorithm : SplitCommas(options.algorithms)) provider->add_algorithms(std::move(algorithm));
  for (std::string& group : SplitCommas(options.groups)) provider->add_groups(std::move(group));
  for (const std::string& pair : options.required) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) return Usage(fmt::format("--require {} is not claim=value", pair));
    (*provider->mutable_required_claims())[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  if (!options.jwks_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(*provider->mutable_static_jwks(), ReadFile(options.jwks_file));
  }
  if (!options.ca_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(*provider->mutable_ca_pem(), ReadFile(options.ca_file));
  }
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::IdentityService>();
  POSTERN_ASSIGN_OR_RETURN(const v1::IdentityProvider created,
                           Call(*stub, &v1::IdentityService::Stub::CreateIdentityProvider, request));
  PrintLine(client.json ? ToJson(created)
                        : fmt::format("tokens of {} are accepted as {}", created.issuer(), created.name()));
  return absl::OkStatus();
}

absl::Status ListProviders(Client& client) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::IdentityService>();
  POSTERN_ASSIGN_OR_RETURN(
      const v1::ListIdentityProvidersResponse all,
      Call(*stub, &v1::IdentityService::Stub::ListIdentityProviders, v1::ListIdentityProvidersRequest()));
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"NAME", "ISSUER", "AUDIENCES", "KIND"});
  for (const v1::IdentityProvider& provider : all.providers()) {
    table.Add({provider.name(), provider.issuer(), fmt::format("{}", fmt::join(provider.audiences(), ",")),
               provider.kind() == v1::PERSON ? "people" : "agents"});
  }
  table.Print("no identity providers");
  return absl::OkStatus();
}

void AddProviderCommands(CLI::App& group, Env& env) {
  auto options = std::make_shared<ProviderOptions>();
  CLI::App* add =
      Leaf(group, env, "add-provider", "Accept the tokens of an OIDC issuer",
           "  postern identity add-provider corp --issuer https://login.example.com --audience postern --kind person\n"
           "  postern identity add-provider ci --issuer https://ci.example.com --audience postern --kind agent \\\n"
           "      --require repository_id=1234 --agent-id orders-ci --groups ci",
           [&env, options] { return AddProvider(env.client, *options); });
  add->add_option("name", options->name, "Short name")->required();
  add->add_option("--issuer", options->issuer, "Exact iss")->required();
  add->add_option("--audience", options->audiences, "Exact aud values, comma separated")->required();
  add->add_option("--kind", options->kind, "What its tokens stand for")
      ->required()
      ->check(CLI::IsMember({"person", "agent"}));
  add->add_option("--algorithms", options->algorithms, "Allowed algorithms, comma separated; default RS256,ES256");
  add->add_option("--jwks-file", options->jwks_file, "A fixed JWK Set instead of the issuer's own");
  add->add_option("--id-claim", options->id_claim, "Claim that becomes the id; default email (people), sub (agents)");
  add->add_option("--groups-claim", options->groups_claim, "Claim that lists groups; default groups");
  add->add_option("--groups", options->groups, "Groups for everyone from here, comma separated");
  add->add_option("--require", options->required, "claim=value that must hold; may be repeated");
  add->add_option("--agent-id", options->agent_id, "Readable id for the agent");
  add->add_option("--ca-file", options->ca_file, "PEM of the CA for the issuer's HTTPS");
  add->add_flag("--allow-loopback-http", options->loopback_http, "Allow http:// on a loopback address");

  Leaf(group, env, "list-providers", "List identity providers", "  postern identity list-providers",
       [&env] { return ListProviders(env.client); });
  auto name = std::make_shared<std::string>();
  Leaf(group, env, "remove-provider", "Refuse an issuer's tokens from now on",
       "  postern identity remove-provider corp",
       [&env, name]() -> absl::Status {
         POSTERN_RETURN_IF_ERROR(env.client.Connect());
         auto stub = env.client.Stub<v1::IdentityService>();
         v1::DeleteIdentityProviderRequest request;
         request.set_name(*name);
         request.set_request_id(NewUuid(Random::System()));
         return Call(*stub, &v1::IdentityService::Stub::DeleteIdentityProvider, request).status();
       })
      ->add_option("name", *name, "Short name")
      ->required();
}

void AddBindingCommands(CLI::App& group, Env& env) {
  for (const bool bind : {true, false}) {
    auto members = std::make_shared<std::string>();
    auto role = std::make_shared<std::string>();
    CLI::App* command = Leaf(group, env, bind ? "bind" : "unbind",
                             bind ? "Give the people of a group a role" : "Take a role from a group",
                             fmt::format("  postern identity {} --group dba --role approver", bind ? "bind" : "unbind"),
                             [&env, members, role, bind]() -> absl::Status {
                               POSTERN_RETURN_IF_ERROR(env.client.Connect());
                               auto stub = env.client.Stub<v1::IdentityService>();
                               if (bind) {
                                 v1::CreateRoleBindingRequest request;
                                 request.mutable_binding()->set_group(*members);
                                 request.mutable_binding()->set_role(*role);
                                 request.set_request_id(NewUuid(Random::System()));
                                 return Call(*stub, &v1::IdentityService::Stub::CreateRoleBinding, request).status();
                               }
                               v1::DeleteRoleBindingRequest request;
                               request.mutable_binding()->set_group(*members);
                               request.mutable_binding()->set_role(*role);
                               request.set_request_id(NewUuid(Random::System()));
                               return Call(*stub, &v1::IdentityService::Stub::DeleteRoleBinding, request).status();
                             });
    command->add_option("--group", *members, "Group")->required();
    command->add_option("--role", *role, "admin, policy-author, approver, auditor or operator")
        ->required()
        ->check(CLI::IsMember({"admin", "policy-author", "approver", "auditor", "operator"}));
  }
}

void AddWorkloadToken(CLI::App& group, Env& env) {
  struct Options {
    std::string key, issuer, subject, audience;
    std::string ttl = "5m";
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = Leaf(
      group, env, "workload-token",
      "Sign a workload token with a key of one's own issuer (see add-provider --jwks-file)",
      "  postern identity workload-token --key ci.pem --issuer https://ci.internal --subject job:42 --audience postern",
      [options]() -> absl::Status {
        POSTERN_ASSIGN_OR_RETURN(const std::string pem, ReadFile(options->key));
        POSTERN_ASSIGN_OR_RETURN(const crypto::EcPrivateKey key, crypto::EcPrivateKey::FromPem(pem));
        POSTERN_ASSIGN_OR_RETURN(const absl::Duration ttl, ParseDuration(options->ttl));
        POSTERN_ASSIGN_OR_RETURN(const std::string token,
                                 token::MakeWorkloadToken(key, options->issuer, options->subject, options->audience,
                                                          ttl, Clock::System(), Random::System()));
        PrintLine(token);
        return absl::OkStatus();
      });
  command->add_option("--key", options->key, "Private key file")->required();
  command->add_option("--issuer", options->issuer, "iss")->required();
  command->add_option("--subject", options->subject, "sub")->required();
  command->add_option("--audience", options->audience, "aud")->required();
  command->add_option("--ttl", options->ttl, "Lifetime; default 5m");

  auto key_file = std::make_shared<std::string>();
  Leaf(group, env, "jwks", "Print the JWK Set of a private key, for add-provider --jwks-file",
       "  postern identity jwks ci.pem > ci.jwks",
       [key_file]() -> absl::Status {
         POSTERN_ASSIGN_OR_RETURN(const std::string pem, ReadFile(*key_file));
         POSTERN_ASSIGN_OR_RETURN(const crypto::EcPrivateKey key, crypto::EcPrivateKey::FromPem(pem));
         PrintLine(token::WorkloadJwks(key.public_key()));
         return absl::OkStatus();
       })
      ->add_option("file", *key_file, "Private key file")
      ->required();
}

}  // namespace

void AddIdentity(CLI::App& app, Env& env) {
  CLI::App* group = Group(app, env, "identity", "Accounts, keys, identity providers and roles");
  AddAccountCommands(*group, env);
  AddKeyCommands(*group, env);
  AddProviderCommands(*group, env);
  AddBindingCommands(*group, env);
  AddWorkloadToken(*group, env);
}

}  // namespace postern::cli
