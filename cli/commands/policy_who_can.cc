// `postern policy who-can`.
#include <cstdio>
#include <memory>

#include "cli/commands/commands.h"
#include "cli/commands/policy_sources.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/policy/who_can.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "nlohmann/json.hpp"
#include "postern/v1/policy.grpc.pb.h"
#include "postern/v1/target.grpc.pb.h"
#include "postern/v1/token.grpc.pb.h"

namespace postern::cli {
namespace {

struct WhoCanOptions {
  std::string verb, object, policy, catalog, target, database;
};

// A live grant and what it may do at best.
struct LiveGrant {
  v1::Grant grant;
  sql::Operation verb;
  policy::Decision decision;
};

std::string_view VerdictWord(policy::Verdict verdict) {
  switch (verdict) {
    case policy::Verdict::kAllow:
      return "allow";
    case policy::Verdict::kHold:
      return "hold";
    case policy::Verdict::kDeny:
      return "never";
  }
  return "never";
}

std::string PlaceOf(const policy::RuleRef& rule) {
  if (rule.rule.empty()) return fmt::format("{} (no rule needed)", rule.policy);
  return fmt::format("{} ({}:{})", rule.ToString(), rule.path, rule.line);
}

// Everything about a way that is neither who nor by which rule.
std::string Remarks(const policy::Way& way) {
  std::vector<std::string> remarks;
  if (!way.through.empty()) remarks.push_back("through " + way.through);
  if (!way.columns.empty()) remarks.push_back(way.columns);
  if (!way.conditions.empty()) remarks.push_back(fmt::format("with {}", fmt::join(way.conditions, " and ")));
  if (way.verdict == policy::Verdict::kHold) remarks.push_back("approved by " + way.approval);
  if (!way.decided_by.rule.empty()) {
    remarks.push_back(
        fmt::format("{} by {}", way.verdict == policy::Verdict::kDeny ? "denied" : "held", PlaceOf(way.decided_by)));
  }
  if (!way.masks.empty()) remarks.push_back(fmt::format("masked {}", fmt::join(way.masks, ", ")));
  for (const std::string& unless : way.unless) remarks.push_back("unless " + unless);
  if (!way.role.empty()) remarks.push_back("as role " + way.role);
  return fmt::format("{}", fmt::join(remarks, "; "));
}

nlohmann::ordered_json RuleJson(const policy::RuleRef& rule) {
  return {{"policy", rule.policy}, {"rule", rule.rule}, {"path", rule.path}, {"line", rule.line}};
}

nlohmann::ordered_json WayJson(const policy::Way& way) {
  nlohmann::ordered_json json;
  json["verb"] = std::string(sql::OperationName(way.verb));
  json["decision"] = way.verdict == policy::Verdict::kDeny ? "deny" : std::string(VerdictWord(way.verdict));
  json["subject"] = {
      {"agent", way.subject.agent()}, {"onBehalfOf", way.subject.on_behalf_of()}, {"group", way.subject.group()}};
  json["targets"] = {
      {"names", std::vector<std::string>(way.targets.names().begin(), way.targets.names().end())},
      {"databases", std::vector<std::string>(way.targets.databases().begin(), way.targets.databases().end())},
      {"env", std::vector<std::string>(way.targets.env().begin(), way.targets.env().end())}};
  json["role"] = way.role;
  json["rule"] = RuleJson(way.rule);
  if (!way.decided_by.rule.empty()) json["decidedBy"] = RuleJson(way.decided_by);
  json["through"] = way.through;
  json["columns"] = way.columns;
  json["conditions"] = way.conditions;
  json["approval"] = way.approval;
  json["masks"] = way.masks;
  json["unless"] = way.unless;
  return json;
}

void PrintWays(const std::vector<policy::Way>& ways, const std::vector<LiveGrant>& grants, bool json) {
  if (json) {
    nlohmann::ordered_json out;
    out["ways"] = nlohmann::ordered_json::array();
    for (const policy::Way& way : ways) out["ways"].push_back(WayJson(way));
    out["grants"] = nlohmann::ordered_json::array();
    for (const LiveGrant& live : grants) {
      nlohmann::ordered_json grant = nlohmann::ordered_json::parse(ToJson(live.grant), nullptr, false);
      grant["verb"] = std::string(sql::OperationName(live.verb));
      grant["decision"] = std::string(VerdictWord(live.decision.verdict));
      grant["rule"] = RuleJson(live.decision.rule);
      out["grants"].push_back(std::move(grant));
    }
    PrintLine(out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  Table table({"DECISION", "VERB", "WHO", "ON", "BY", "HOW"});
  for (const policy::Way& way : ways) {
    table.Add({std::string(VerdictWord(way.verdict)), std::string(sql::OperationName(way.verb)),
               policy::MatcherInWords(way.subject), policy::TargetsInWords(way.targets), PlaceOf(way.rule),
               Remarks(way)});
  }
  table.Print("nobody: no rule of any policy grants it");
  if (grants.empty()) return;
  PrintLine("");
  Table live({"LIVE GRANT", "DECISION", "VERB", "AGENT", "FOR", "TARGET", "UNTIL", "BY"});
  for (const LiveGrant& each : grants) {
    live.Add({each.grant.id(), std::string(VerdictWord(each.decision.verdict)),
              std::string(sql::OperationName(each.verb)), each.grant.agent(), each.grant.intent().on_behalf_of(),
              each.grant.intent().target(), FormatTime(each.grant.expire_time()), PlaceOf(each.decision.rule)});
  }
  live.Print("");
}

absl::StatusOr<std::map<std::string, v1::Target>> AllTargets(Client& client) {
  auto stub = client.Stub<v1::TargetService>();
  v1::ListTargetsRequest request;
  std::map<std::string, v1::Target> targets;
  do {
    POSTERN_ASSIGN_OR_RETURN(const v1::ListTargetsResponse page,
                             Call(*stub, &v1::TargetService::Stub::ListTargets, request));
    for (const v1::Target& target : page.targets()) targets[target.name()] = target;
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return targets;
}

// Grants that live now and may do it.
absl::StatusOr<std::vector<LiveGrant>> LiveGrants(Client& client, const v1::PolicySet& set,
                                                  const policy::WhoCanQuery& query, const sql::Catalog* catalog) {
  POSTERN_ASSIGN_OR_RETURN(const auto compiled, policy::CompiledPolicy::Compile(set));
  POSTERN_ASSIGN_OR_RETURN(const auto targets, AllTargets(client));
  const std::vector<v1::Policy> policies(set.policies().begin(), set.policies().end());
  auto stub = client.Stub<v1::TokenService>();
  std::vector<LiveGrant> live;
  v1::ListGrantsRequest request;
  request.set_active_only(true);
  request.set_page_size(1000);
  do {
    POSTERN_ASSIGN_OR_RETURN(const v1::ListGrantsResponse page,
                             Call(*stub, &v1::TokenService::Stub::ListGrants, request));
    for (const v1::Grant& grant : page.grants()) {
      const auto target = targets.find(grant.intent().target());
      if (target == targets.end()) continue;
      const policy::Subject subject{
          grant.agent(), grant.intent().on_behalf_of(), {grant.groups().begin(), grant.groups().end()}};
      const std::string& database =
          grant.intent().database().empty() ? target->second.default_database() : grant.intent().database();
      const policy::IntentView intent{{grant.intent().do_().begin(), grant.intent().do_().end()},
                                      {grant.intent().objects().begin(), grant.intent().objects().end()}};
      for (const sql::Operation verb : query.verbs.Operations()) {
        policy::Decision decision =
            policy::CanAtBest(*compiled, policies, subject, {target->first, database, target->second.env()}, intent,
                              verb, query, catalog);
        if (decision.verdict != policy::Verdict::kDeny) live.push_back({grant, verb, std::move(decision)});
      }
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return live;
}

absl::Status WhoCanCommand(Client& client, const WhoCanOptions& options) {
  absl::StatusOr<policy::WhoCanQuery> query = policy::ParseWhoCan(options.verb, options.object);
  if (!query.ok()) return Usage(std::string(query.status().message()), DetailsOf(query.status()).hint);
  const bool online = options.policy.empty() || !options.target.empty();
  if (online) {
    POSTERN_RETURN_IF_ERROR(client.Connect());
  }
  v1::PolicySet set;
  if (options.policy.empty()) {
    POSTERN_ASSIGN_OR_RETURN(set, PolicyInForce(client));
  } else {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::Policy> policies, LoadPolicies(options.policy));
    set.mutable_policies()->Assign(policies.begin(), policies.end());
  }
  std::shared_ptr<const sql::Catalog> catalog;
  if (!options.catalog.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const v1::CatalogSnapshot snapshot, ReadCatalogFile(options.catalog));
    catalog = sql::Catalog::Build(snapshot.contents());
  } else if (!options.target.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const v1::CatalogSnapshot snapshot,
                             FetchCatalog(client, options.target, options.database));
    catalog = sql::Catalog::Build(snapshot.contents());
  }
  std::vector<LiveGrant> grants;
  if (options.policy.empty()) {
    absl::StatusOr<std::vector<LiveGrant>> found = LiveGrants(client, set, *query, catalog.get());
    if (found.ok()) {
      grants = *std::move(found);
    } else if (absl::IsPermissionDenied(found.status())) {
      std::fprintf(stderr, "note: this profile may not list grants, so live grants are left out\n");
    } else {
      return found.status();
    }
  }
  const std::vector<v1::Policy> policies(set.policies().begin(), set.policies().end());
  PrintWays(policy::WhoCan(policies, *query, catalog.get()), grants, client.json);
  return absl::OkStatus();
}

}  // namespace

void AddWhoCan(CLI::App& group, Env& env) {
  auto options = std::make_shared<WhoCanOptions>();
  CLI::App* command = Leaf(group, env, "who-can", "Say who may do something, by which rule and under which conditions",
                           "  postern policy who-can update app.orders.total\n"
                           "  postern policy who-can select app.customers.email --target orders\n"
                           "  postern policy who-can write app.orders --policy ./policies",
                           [&env, options] { return WhoCanCommand(env.client, *options); });
  command->add_option("verb", options->verb, "A verb or group of policy: select, update, write, do_block…")->required();
  command->add_option("object", options->object, "schema.relation or schema.relation.column; of call, schema.function");
  command->add_option("--policy", options->policy,
                      "A YAML file, or a folder of them; default: the policy in force, and live grants with it");
  command->add_option("--catalog", options->catalog,
                      "A file of `postern target catalog`: looks through views, parents and partitions, too");
  command->add_option("--target", options->target, "The same with the catalog of this target");
  command->add_option("--database", options->database, "Its database; default: the target's");
}

}  // namespace postern::cli
