#include <cstdio>
#include <iostream>
#include <memory>

#include <unistd.h>

#include "cli/commands/commands.h"
#include "cli/commands/policy_sources.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/policy/harden.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "postern/v1/target.grpc.pb.h"

namespace postern::cli {
namespace {

struct TargetOptions {
  std::string name, host, database, databases, env, tls_mode, tls_ca_file, login_role, default_role, password_file,
      lease;
  int port = 5432;
};

void AddTargetOptions(CLI::App* command, TargetOptions& options, bool creating) {
  command->add_option("name", options.name, "Name, e.g. orders")->required();
  auto* host = command->add_option("--host", options.host, "Host, address, or folder of a unix socket");
  auto* database = command->add_option("--database", options.database, "Default database");
  auto* login = command->add_option("--login-role", options.login_role, "Role that the sidecar logs in as");
  auto* password =
      command->add_option("--password-file", options.password_file,
                          "File with that role's password; - reads stdin. It is sealed and never shown again");
  if (creating) {
    host->required();
    database->required();
    login->required();
    password->required();
  }
  command->add_option("--port", options.port, "Port")->check(CLI::Range(1, 65535));
  command->add_option("--databases", options.databases, "More databases to serve, comma separated");
  command->add_option("--env", options.env, "Environment label that policies match, e.g. prod");
  command->add_option("--tls-mode", options.tls_mode, "disable, require, verify-ca or verify-full (default)")
      ->check(CLI::IsMember({"disable", "require", "verify-ca", "verify-full"}));
  command->add_option("--tls-ca-file", options.tls_ca_file, "PEM of the CA of its certificate; default: the system's");
  command->add_option("--default-role", options.default_role,
                      "Session role when policy names none; default: the login role");
  command->add_option("--lease", options.lease, "How long a sidecar serves without the control plane; default 60s");
}

absl::StatusOr<std::string> ReadPassword(const std::string& path) {
  if (path.empty()) return std::string();
  std::string text;
  if (path == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    POSTERN_ASSIGN_OR_RETURN(text, ReadFile(path));
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.empty()) return Usage("the password is empty");
  return text;
}

// Lays the options that were given over `target`.
absl::Status Overlay(const TargetOptions& options, const CLI::App& command, v1::Target* target) {
  target->set_name(options.name);
  if (!options.host.empty()) target->set_host(options.host);
  if (command.count("--port") > 0 || target->port() == 0) target->set_port(options.port);
  if (!options.database.empty()) target->set_default_database(options.database);
  if (!options.databases.empty()) {
    const auto names = SplitCommas(options.databases);
    target->mutable_databases()->Assign(names.begin(), names.end());
  }
  if (!options.env.empty()) target->set_env(options.env);
  if (!options.tls_mode.empty()) target->set_tls_mode(options.tls_mode);
  if (target->tls_mode().empty()) target->set_tls_mode("verify-full");
  if (!options.tls_ca_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(*target->mutable_tls_ca_pem(), ReadFile(options.tls_ca_file));
  }
  if (!options.login_role.empty()) target->set_login_role(options.login_role);
  if (!options.default_role.empty()) target->set_default_role(options.default_role);
  if (!options.lease.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const absl::Duration lease, ParseDuration(options.lease));
    target->set_lease_seconds(absl::ToInt64Seconds(lease));
  }
  return absl::OkStatus();
}

void PrintTarget(const Client& client, const v1::Target& target) {
  if (client.json) {
    PrintLine(ToJson(target));
    return;
  }
  PrintLine(fmt::format("{}: {}:{} database {} as {} (sessions as {}), TLS {}, env {}", target.name(), target.host(),
                        target.port(), target.default_database(), target.login_role(),
                        target.default_role().empty() ? target.login_role() : target.default_role(), target.tls_mode(),
                        target.env().empty() ? "-" : target.env()));
}

absl::Status Create(Client& client, const TargetOptions& options, const CLI::App& command) {
  v1::CreateTargetRequest request;
  POSTERN_RETURN_IF_ERROR(Overlay(options, command, request.mutable_target()));
  POSTERN_ASSIGN_OR_RETURN(*request.mutable_password(), ReadPassword(options.password_file));
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::TargetService>();
  POSTERN_ASSIGN_OR_RETURN(const v1::Target target, Call(*stub, &v1::TargetService::Stub::CreateTarget, request));
  PrintTarget(client, target);
  return absl::OkStatus();
}

absl::Status Update(Client& client, const TargetOptions& options, const CLI::App& command) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::TargetService>();
  v1::GetTargetRequest get;
  get.set_name(options.name);
  v1::UpdateTargetRequest request;
  POSTERN_ASSIGN_OR_RETURN(*request.mutable_target(), Call(*stub, &v1::TargetService::Stub::GetTarget, get));
  POSTERN_RETURN_IF_ERROR(Overlay(options, command, request.mutable_target()));
  POSTERN_ASSIGN_OR_RETURN(*request.mutable_password(), ReadPassword(options.password_file));
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::Target target, Call(*stub, &v1::TargetService::Stub::UpdateTarget, request));
  PrintTarget(client, target);
  return absl::OkStatus();
}

struct HardenFlags {
  std::string target, database, policy;
};

absl::Status Harden(Client& client, const HardenFlags& flags) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  v1::GetTargetRequest get;
  get.set_name(flags.target);
  auto stub = client.Stub<v1::TargetService>();
  POSTERN_ASSIGN_OR_RETURN(const v1::Target target, Call(*stub, &v1::TargetService::Stub::GetTarget, get));
  policy::HardenOptions options;
  const std::string& database = flags.database.empty() ? target.default_database() : flags.database;
  options.target = {target.name(), database, target.env()};
  options.login_role = target.login_role();
  options.default_role = target.default_role();
  std::vector<v1::Policy> policies;
  if (flags.policy.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const v1::PolicySet set, PolicyInForce(client));
    policies.assign(set.policies().begin(), set.policies().end());
  } else {
    POSTERN_ASSIGN_OR_RETURN(policies, LoadPolicies(flags.policy));
  }
  POSTERN_ASSIGN_OR_RETURN(const v1::CatalogSnapshot snapshot, FetchCatalog(client, target.name(), database));
  POSTERN_ASSIGN_OR_RETURN(const std::string sql,
                           policy::HardenSql(policies, options, *sql::Catalog::Build(snapshot.contents())));
  std::fwrite(sql.data(), 1, sql.size(), stdout);
  return absl::OkStatus();
}

absl::Status ListTargets(Client& client) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::TargetService>();
  v1::ListTargetsRequest request;
  v1::ListTargetsResponse all;
  do {
    POSTERN_ASSIGN_OR_RETURN(v1::ListTargetsResponse page, Call(*stub, &v1::TargetService::Stub::ListTargets, request));
    all.mutable_targets()->MergeFrom(page.targets());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"NAME", "ADDRESS", "DATABASE", "LOGIN ROLE", "TLS", "ENV"});
  for (const v1::Target& target : all.targets()) {
    table.Add({target.name(), target.host().empty() ? "-" : fmt::format("{}:{}", target.host(), target.port()),
               target.default_database(), target.login_role(), target.tls_mode(), target.env()});
  }
  table.Print("no targets");
  return absl::OkStatus();
}

}  // namespace

void AddTarget(CLI::App& app, Env& env) {
  CLI::App* group = Group(app, env, "target", "Register the Postgres servers behind the gate");

  auto add = std::make_shared<TargetOptions>();
  auto add_self = std::make_shared<CLI::App*>(nullptr);
  *add_self = Leaf(*group, env, "add", "Register a target",
                   "  postern target add orders --host db.internal --database orders --login-role postern_gate \\\n"
                   "      --password-file - --env prod --tls-ca-file ca.pem < password",
                   [&env, add, add_self] { return Create(env.client, *add, **add_self); });
  AddTargetOptions(*add_self, *add, true);

  auto update = std::make_shared<TargetOptions>();
  auto update_self = std::make_shared<CLI::App*>(nullptr);
  *update_self =
      Leaf(*group, env, "update", "Change a target; what is not named stays",
           "  postern target update orders --lease 30s\n  postern target update orders --password-file new-password",
           [&env, update, update_self] { return Update(env.client, *update, **update_self); });
  AddTargetOptions(*update_self, *update, false);

  Leaf(*group, env, "list", "List targets", "  postern target list", [&env] { return ListTargets(env.client); });

  auto show = std::make_shared<std::string>();
  Leaf(*group, env, "show", "Show one target", "  postern target show orders",
       [&env, show]() -> absl::Status {
         POSTERN_RETURN_IF_ERROR(env.client.Connect());
         auto stub = env.client.Stub<v1::TargetService>();
         v1::GetTargetRequest request;
         request.set_name(*show);
         POSTERN_ASSIGN_OR_RETURN(const v1::Target target, Call(*stub, &v1::TargetService::Stub::GetTarget, request));
         PrintTarget(env.client, target);
         return absl::OkStatus();
       })
      ->add_option("name", *show, "Target")
      ->required();

  struct CatalogOptions {
    std::string target, database;
  };
  auto catalog = std::make_shared<CatalogOptions>();
  CLI::App* catalog_command =
      Leaf(*group, env, "catalog", "Print what names mean on a target's database, for checking policy elsewhere",
           "  postern target catalog orders > catalog.json\n  postern policy lint ./policies --catalog catalog.json",
           [&env, catalog]() -> absl::Status {
             POSTERN_RETURN_IF_ERROR(env.client.Connect());
             POSTERN_ASSIGN_OR_RETURN(const v1::CatalogSnapshot snapshot,
                                      FetchCatalog(env.client, catalog->target, catalog->database));
             PrintLine(ToJson(snapshot));
             return absl::OkStatus();
           });
  catalog_command->add_option("name", catalog->target, "Target")->required();
  catalog_command->add_option("--database", catalog->database, "Database; default: the target's");

  auto harden = std::make_shared<HardenFlags>();
  CLI::App* harden_command = Leaf(
      *group, env, "harden", "Print the SQL with which Postgres itself refuses what policy masks or does not grant",
      "  postern target harden orders > rights.sql\n  psql -v ON_ERROR_STOP=1 -f rights.sql",
      [&env, harden] { return Harden(env.client, *harden); });
  harden_command->add_option("name", harden->target, "Target")->required();
  harden_command->add_option("--database", harden->database, "Database; default: the target's");
  harden_command->add_option("--policy", harden->policy,
                             "A YAML file, or a folder of them; default: the policy in force");

  auto remove = std::make_shared<std::string>();
  Leaf(*group, env, "remove", "Remove a target; its live sessions are cut", "  postern target remove orders",
       [&env, remove]() -> absl::Status {
         POSTERN_RETURN_IF_ERROR(env.client.Connect());
         auto stub = env.client.Stub<v1::TargetService>();
         v1::DeleteTargetRequest request;
         request.set_name(*remove);
         request.set_request_id(NewUuid(Random::System()));
         POSTERN_RETURN_IF_ERROR(Call(*stub, &v1::TargetService::Stub::DeleteTarget, request).status());
         PrintLine(fmt::format("{} is removed", *remove));
         return absl::OkStatus();
       })
      ->add_option("name", *remove, "Target")
      ->required();
}

}  // namespace postern::cli
