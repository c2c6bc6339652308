// `postern policy suggest`.
#include <cstdio>
#include <map>
#include <memory>
#include <utility>

#include "cli/commands/audit_source.h"
#include "cli/commands/commands.h"
#include "cli/commands/policy_sources.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/policy/suggest.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "postern/v1/target.grpc.pb.h"
#include "postern/v1/token.grpc.pb.h"

namespace postern::cli {
namespace {

struct SuggestFlags {
  FilterOptions filter;
  std::string file, policy, catalog, hold_by;
  std::string name = "suggested";
  bool no_conditions = false;
};

// Catalogs of targets as they are asked for; one that nobody has published is said so once.
class FetchedCatalogs final : public policy::CatalogSource {
 public:
  explicit FetchedCatalogs(Client& client) : client_(client) {}

  std::shared_ptr<const sql::Catalog> Find(std::string_view target, std::string_view database) const override {
    const auto [at, is_new] = known_.try_emplace({std::string(target), std::string(database)});
    if (!is_new) return at->second;
    const auto snapshot = FetchCatalog(client_, std::string(target), std::string(database));
    if (snapshot.ok()) {
      at->second = sql::Catalog::Build(snapshot->contents());
    } else {
      std::fprintf(stderr, "note: names are taken as recorded: %s\n",
                   Printable(std::string(snapshot.status().message())).c_str());
    }
    return at->second;
  }

 private:
  Client& client_;
  mutable std::map<std::pair<std::string, std::string>, std::shared_ptr<const sql::Catalog>> known_;
};

bool Fits(const std::string& wanted, const std::string& value) { return wanted.empty() || wanted == value; }

// What the control plane's filter does, for exports.
bool Matches(const v1::AuditFilter& filter, const v1::AuditRecord& record) {
  const absl::Time time = FromProto(record.time());
  return Fits(filter.agent(), record.agent()) && Fits(filter.on_behalf_of(), record.on_behalf_of()) &&
         Fits(filter.grant_id(), record.grant_id()) && Fits(filter.session_id(), record.session_id()) &&
         Fits(filter.target(), record.target()) && (!filter.has_since() || time >= FromProto(filter.since())) &&
         (!filter.has_until() || time < FromProto(filter.until()));
}

absl::StatusOr<std::vector<v1::AuditRecord>> ReadRecords(Client& client, const SuggestFlags& flags) {
  POSTERN_ASSIGN_OR_RETURN(v1::AuditFilter filter, ToFilter(flags.filter));
  filter.set_kind(v1::STATEMENT_INTENT);
  std::vector<v1::AuditRecord> records;
  const auto take = [&](const v1::LoggedRecord& logged) {
    v1::AuditRecord record;
    const bool is_intent = record.ParseFromString(logged.chained().record()) && record.kind() == v1::STATEMENT_INTENT;
    if (is_intent && Matches(filter, record)) records.push_back(std::move(record));
  };
  if (flags.file.empty()) {
    POSTERN_RETURN_IF_ERROR(ForEachRecord(client, filter, take));
  } else {
    POSTERN_RETURN_IF_ERROR(ForEachInFile(flags.file, [&](const v1::ExportAuditResponse& item) {
      if (item.has_record()) take(item.record());
    }));
  }
  if (records.empty()) {
    return Error(absl::StatusCode::kNotFound, "NOTHING_RECORDED", "no recorded statement matches",
                 "look for it with: postern audit query --kind intent");
  }
  return records;
}

absl::Status AddExisting(Client& client, const SuggestFlags& flags, policy::SuggestOptions* options) {
  if (!flags.policy.empty()) {
    POSTERN_ASSIGN_OR_RETURN(options->existing, LoadPolicies(flags.policy));
  } else if (flags.file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const v1::PolicySet set, PolicyInForce(client));
    options->existing.assign(set.policies().begin(), set.policies().end());
  }
  if (!flags.file.empty()) {
    // Which environment a target has is not in the log: policies for any environment count, so that no mask is lost.
    for (v1::Policy& policy : options->existing) policy.mutable_targets()->clear_env();
    return absl::OkStatus();
  }
  auto stub = client.Stub<v1::TargetService>();
  v1::ListTargetsRequest request;
  do {
    POSTERN_ASSIGN_OR_RETURN(const v1::ListTargetsResponse page,
                             Call(*stub, &v1::TargetService::Stub::ListTargets, request));
    for (const v1::Target& target : page.targets()) options->env_of_target[target.name()] = target.env();
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

// Which groups the agents were in when they got their grants; left out where this profile may not see it.
void AddGroups(Client& client, const std::vector<v1::AuditRecord>& records, policy::SuggestOptions* options) {
  auto stub = client.Stub<v1::TokenService>();
  for (const v1::AuditRecord& record : records) {
    if (record.grant_id().empty() || options->groups_of_grant.contains(record.grant_id())) continue;
    v1::GetGrantRequest request;
    request.set_id(record.grant_id());
    const auto grant = Call(*stub, &v1::TokenService::Stub::GetGrant, request);
    if (!grant.ok()) return;
    options->groups_of_grant[record.grant_id()].assign(grant->groups().begin(), grant->groups().end());
  }
}

std::string Heading(const std::vector<v1::AuditRecord>& records, const policy::Suggestion& suggestion) {
  std::string text = fmt::format(
      "# Suggested by `postern policy suggest` from {} recorded execution(s), {} to {}.\n"
      "# It grants what they needed and nothing more. Read it before you apply it: what ran is not always what "
      "should.\n",
      suggestion.statements, FormatTime(records.front().time()), FormatTime(records.back().time()));
  if (suggestion.denied > 0) {
    text += fmt::format("# {} execution(s) that were refused are left out.\n", suggestion.denied);
  }
  return text;
}

absl::Status SuggestCommand(Client& client, const SuggestFlags& flags) {
  const FilterOptions& filter = flags.filter;
  if (filter.agent.empty() && filter.grant.empty() && filter.session.empty() && filter.since.empty()) {
    return Usage("say of what: --session, --grant, --agent or --since",
                 "e.g. postern policy suggest --session ses_…; `postern session list` shows them");
  }
  policy::SuggestOptions options;
  options.name = flags.name;
  options.hold_by = SplitCommas(flags.hold_by);
  options.conditions = !flags.no_conditions;
  std::unique_ptr<policy::CatalogSource> catalogs;
  if (flags.file.empty()) {
    POSTERN_RETURN_IF_ERROR(client.Connect());
    catalogs = std::make_unique<FetchedCatalogs>(client);
  }
  if (!flags.catalog.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const v1::CatalogSnapshot snapshot, ReadCatalogFile(flags.catalog));
    catalogs = std::make_unique<OneCatalog>(sql::Catalog::Build(snapshot.contents()));
  }
  options.catalogs = catalogs.get();
  POSTERN_RETURN_IF_ERROR(AddExisting(client, flags, &options));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::AuditRecord> records, ReadRecords(client, flags));
  if (flags.file.empty()) AddGroups(client, records, &options);
  POSTERN_ASSIGN_OR_RETURN(const policy::Suggestion suggestion, policy::Suggest(records, options));
  const std::string yaml = Heading(records, suggestion) + suggestion.yaml;
  if (client.json) {
    nlohmann::ordered_json json;
    json["yaml"] = yaml;
    json["executions"] = suggestion.statements;
    json["denied"] = suggestion.denied;
    json["problems"] = suggestion.problems;
    PrintLine(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    std::fwrite(yaml.data(), 1, yaml.size(), stdout);
    for (const std::string& problem : suggestion.problems) {
      std::fprintf(stderr, "not covered: %s\n", Printable(problem).c_str());
    }
  }
  if (suggestion.problems.empty()) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "NOT_ALL_COVERED",
               fmt::format("{} kind(s) of recorded statement would not run as they did under the suggestion",
                           suggestion.problems.size()),
               "the lines above say why; add rules for them by hand");
}

}  // namespace

void AddSuggest(CLI::App& group, Env& env) {
  auto flags = std::make_shared<SuggestFlags>();
  CLI::App* command =
      Leaf(group, env, "suggest", "Write the least policy under which recorded statements would run again",
           "  postern policy suggest --session ses_01k9… > least.yaml && postern policy test least.yaml\n"
           "  postern policy suggest --agent support-bot --since 24h\n"
           "  postern policy suggest --file audit.jsonl --agent ci --policy ./policies --catalog catalog.json",
           [&env, flags] { return SuggestCommand(env.client, *flags); });
  command->add_option("--session", flags->filter.session, "Statements of this session");
  command->add_option("--grant", flags->filter.grant, "Statements of this grant's sessions");
  command->add_option("--agent", flags->filter.agent, "Statements of this agent");
  command->add_option("--on-behalf-of", flags->filter.on_behalf_of, "For this person");
  command->add_option("--target", flags->filter.target, "On this target");
  command->add_option("--since", flags->filter.since, "RFC 3339 time, or an age such as 2h");
  command->add_option("--until", flags->filter.until, "RFC 3339 time, or an age such as 2h");
  command->add_option("--file", flags->file, "An export of the audit log (- for stdin); no control plane is needed");
  command->add_option("--policy", flags->policy,
                      "Policies that it ran under: masks, approvals, session terms; default: those in force");
  command->add_option("--catalog", flags->catalog, "A file of `postern target catalog`; default: the target's");
  command->add_option("--hold-by", flags->hold_by, "Groups that approve what was held, where no policy says so");
  command->add_option("--name", flags->name, "Name of the policy");
  command->add_flag("--no-conditions", flags->no_conditions, "Leave out `require`: any WHERE and LIMIT will do");
}

}  // namespace postern::cli
