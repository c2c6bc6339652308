#include "cli/commands/audit_source.h"

#include <fstream>
#include <iostream>

#include "absl/time/clock.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "google/protobuf/util/json_util.h"
#include "postern/v1/audit.grpc.pb.h"

namespace postern::cli {
namespace {

absl::StatusOr<google::protobuf::Timestamp> ParseWhen(const std::string& text) {
  absl::Time time;
  if (std::string error; absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return ToProto(time);
  const auto age = ParseDuration(text);
  if (!age.ok()) return Usage(fmt::format("{} is neither a time nor an age", text), "e.g. 2026-03-02T15:04:05Z or 2h");
  return ToProto(absl::Now() - *age);
}

}  // namespace

const std::map<std::string, v1::AuditKind>& AuditKinds() {
  static const std::map<std::string, v1::AuditKind> kKinds = {{"session-start", v1::SESSION_START},
                                                              {"session-end", v1::SESSION_END},
                                                              {"session-refused", v1::SESSION_REFUSED},
                                                              {"intent", v1::STATEMENT_INTENT},
                                                              {"outcome", v1::STATEMENT_OUTCOME},
                                                              {"hold", v1::HOLD},
                                                              {"alarm", v1::ALARM},
                                                              {"control", v1::CONTROL}};
  return kKinds;
}

void AddFilterOptions(CLI::App* command, FilterOptions& options) {
  command->add_option("--agent", options.agent, "Agent");
  command->add_option("--on-behalf-of", options.on_behalf_of, "Person");
  command->add_option("--grant", options.grant, "Grant id");
  command->add_option("--session", options.session, "Session id");
  command->add_option("--approval", options.approval, "Approval id");
  command->add_option("--target", options.target, "Target");
  command->add_option("--relation", options.relation, "schema.relation that a statement touched");
  command->add_option("--decision", options.decision, "allow, hold or deny")
      ->check(CLI::IsMember({"allow", "hold", "deny"}));
  command
      ->add_option("--kind", options.kind,
                   "session-start, session-end, session-refused, intent, outcome, hold, alarm, control")
      ->check(CLI::IsMember(AuditKinds()));
  command->add_option("--since", options.since, "RFC 3339 time, or an age such as 2h");
  command->add_option("--until", options.until, "RFC 3339 time, or an age such as 2h");
  command->add_option("--text", options.text, "Part of the statement's text");
}

absl::StatusOr<v1::AuditFilter> ToFilter(const FilterOptions& options) {
  v1::AuditFilter filter;
  filter.set_agent(options.agent);
  filter.set_on_behalf_of(options.on_behalf_of);
  filter.set_grant_id(options.grant);
  filter.set_session_id(options.session);
  filter.set_approval_id(options.approval);
  filter.set_target(options.target);
  filter.set_relation(options.relation);
  filter.set_decision(options.decision);
  filter.set_text(options.text);
  if (!options.kind.empty()) filter.set_kind(AuditKinds().at(options.kind));
  if (!options.since.empty()) {
    POSTERN_ASSIGN_OR_RETURN(*filter.mutable_since(), ParseWhen(options.since));
  }
  if (!options.until.empty()) {
    POSTERN_ASSIGN_OR_RETURN(*filter.mutable_until(), ParseWhen(options.until));
  }
  return filter;
}

absl::Status ForEachRecord(Client& client, const v1::AuditFilter& filter,
                           const std::function<void(const v1::LoggedRecord&)>& take) {
  v1::QueryAuditRequest request;
  *request.mutable_filter() = filter;
  request.set_oldest_first(true);
  request.set_page_size(1000);
  auto stub = client.Stub<v1::AuditService>();
  do {
    POSTERN_ASSIGN_OR_RETURN(const v1::QueryAuditResponse page,
                             Call(*stub, &v1::AuditService::Stub::QueryAudit, request));
    for (const v1::LoggedRecord& record : page.records()) take(record);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::Status ForEachInFile(const std::string& path, const std::function<void(const v1::ExportAuditResponse&)>& take) {
  std::ifstream file;
  if (path != "-") {
    file.open(path);
    if (!file) return Error(absl::StatusCode::kNotFound, "FILE_UNREADABLE", fmt::format("cannot read {}", path));
  }
  std::istream& in = path == "-" ? std::cin : file;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    v1::ExportAuditResponse item;
    if (!google::protobuf::util::JsonStringToMessage(line, &item, options).ok()) {
      return Error(absl::StatusCode::kDataLoss, "EXPORT_MALFORMED",
                   fmt::format("{}:{} is not a line of an export", path, number),
                   "export again: postern audit export > FILE");
    }
    take(item);
  }
  return absl::OkStatus();
}

}  // namespace postern::cli
