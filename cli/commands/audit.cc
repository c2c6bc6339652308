#include <cstdio>
#include <memory>

#include "cli/commands/audit_source.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/audit/verify.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/ec_key.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "postern/v1/audit.grpc.pb.h"

namespace postern::cli {
namespace {

std::string_view KindName(v1::AuditKind kind) {
  for (const auto& [name, value] : AuditKinds()) {
    if (value == kind) return name;
  }
  return "unknown";
}

// What a person wants to see of a record in one line.
std::string WhatHappened(const v1::AuditRecord& record) {
  switch (record.kind()) {
    case v1::STATEMENT_INTENT:
      return Clip(Printable(record.sql()), 90);
    case v1::STATEMENT_OUTCOME:
      return fmt::format("{} {} ({} rows)", record.outcome(), record.sqlstate(), record.rows());
    case v1::SESSION_START:
    case v1::SESSION_END:
    case v1::SESSION_REFUSED:
      return fmt::format("{} {}", record.session_id(), Clip(record.reason(), 60));
    default:
      return Clip(fmt::format("{} {} {}", record.action(), record.object(), record.approval_id()), 90);
  }
}

std::string OneLine(const v1::LoggedRecord& logged) {
  v1::AuditRecord record;
  record.ParseFromString(logged.chained().record());
  return fmt::format("{}  {:<15}  {:<5}  {:<16}  {}", FormatTime(record.time()), KindName(record.kind()),
                     record.decision(), Printable(record.agent()), Printable(WhatHappened(record)));
}

void PrintRecord(const Client& client, const v1::LoggedRecord& record) {
  PrintLine(client.json ? AuditJson(record) : OneLine(record));
}

absl::Status Query(Client& client, const FilterOptions& options, int limit, bool oldest_first) {
  v1::QueryAuditRequest request;
  POSTERN_ASSIGN_OR_RETURN(*request.mutable_filter(), ToFilter(options));
  request.set_oldest_first(oldest_first);
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::AuditService>();
  int printed = 0;
  do {
    request.set_page_size(std::min(1000, limit - printed));
    POSTERN_ASSIGN_OR_RETURN(const v1::QueryAuditResponse page,
                             Call(*stub, &v1::AuditService::Stub::QueryAudit, request));
    for (const v1::LoggedRecord& record : page.records()) PrintRecord(client, record);
    printed += page.records_size();
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && printed < limit);
  if (printed == 0 && !client.json) std::fprintf(stderr, "no records\n");
  return absl::OkStatus();
}

absl::Status Tail(Client& client, const FilterOptions& options, int64_t after) {
  v1::TailAuditRequest request;
  POSTERN_ASSIGN_OR_RETURN(*request.mutable_filter(), ToFilter(options));
  request.set_after_leaf(after);
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::AuditService>();
  grpc::ClientContext context;
  auto reader = stub->TailAudit(&context, request);
  v1::LoggedRecord record;
  while (reader->Read(&record)) PrintRecord(client, record);
  return FromGrpc(reader->Finish());
}

// A line of an export: the proto's JSON, which verification reads back, and the record in clear beside it for people.
std::string ExportLine(const v1::ExportAuditResponse& item) {
  if (!item.has_record()) return ToJson(item);
  auto json = nlohmann::ordered_json::parse(ToJson(item), nullptr, false);
  json["decoded"] = nlohmann::ordered_json::parse(AuditJson(item.record()), nullptr, false);
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::Status ForEachExported(Client& client, const std::function<void(const v1::ExportAuditResponse&)>& take) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::AuditService>();
  grpc::ClientContext context;
  auto reader = stub->ExportAudit(&context, v1::ExportAuditRequest());
  v1::ExportAuditResponse item;
  while (reader->Read(&item)) take(item);
  return FromGrpc(reader->Finish());
}

absl::Status Report(const Client& client, const audit::VerifyReport& report) {
  if (client.json) {
    nlohmann::ordered_json json;
    json["ok"] = report.ok();
    json["records"] = report.records;
    json["chains"] = report.chains;
    json["treeSize"] = report.checkpoint.tree_size();
    json["keysFromExport"] = report.keys_from_export;
    if (!report.ok()) {
      json["damage"] = std::string(audit::DamageName(report.finding->damage));
      json["leafIndex"] = report.finding->leaf;
      json["writer"] = report.finding->writer;
      json["epoch"] = report.finding->epoch;
      json["sequence"] = report.finding->sequence;
      json["finding"] = report.finding->text;
    }
    PrintLine(json.dump());
  }
  if (!report.ok()) {
    return Error(absl::StatusCode::kDataLoss, "AUDIT_DAMAGED",
                 fmt::format("the audit log is damaged ({}): {}", audit::DamageName(report.finding->damage),
                             report.finding->text),
                 "keep this export and the store as they are and call your security team");
  }
  if (!client.json) {
    PrintLine(fmt::format("verified: {} records in {} chains, tree of {} signed by {} at {}", report.records,
                          report.chains, report.checkpoint.tree_size(), report.checkpoint.key_id(),
                          FormatTime(report.checkpoint.time())));
    if (report.keys_from_export) {
      PrintLine(
          "note: checked with the keys in the export itself; give --key FILE with keys that you kept to prove whose "
          "log it is");
    }
  }
  return absl::OkStatus();
}

absl::Status Verify(Client& client, const std::string& file, const std::vector<std::string>& key_files) {
  audit::VerifyOptions options;
  for (const std::string& path : key_files) {
    POSTERN_ASSIGN_OR_RETURN(const std::string pem, ReadFile(path));
    POSTERN_ASSIGN_OR_RETURN(const crypto::EcPublicKey key, crypto::EcPublicKey::FromPem(pem));
    v1::AuditKey trusted;
    trusted.set_key_id(key.Thumbprint());
    trusted.set_public_key_pem(pem);
    options.trusted_keys.push_back(std::move(trusted));
  }
  audit::ExportVerifier verifier(std::move(options));
  const auto take = [&verifier](const v1::ExportAuditResponse& item) { verifier.Add(item); };
  POSTERN_RETURN_IF_ERROR(file.empty() ? ForEachExported(client, take) : ForEachInFile(file, take));
  return Report(client, verifier.Finish());
}

}  // namespace

void AddAudit(CLI::App& app, Env& env) {
  CLI::App* group = Group(app, env, "audit", "Search, follow, export and verify the audit log");

  struct QueryOptions {
    FilterOptions filter;
    int limit = 100;
    bool oldest_first = false;
  };
  auto query = std::make_shared<QueryOptions>();
  CLI::App* query_command =
      Leaf(*group, env, "query", "Records that match, newest first",
           "  postern audit query --decision deny --since 24h\n  postern audit query --relation app.orders -o json",
           [&env, query] { return Query(env.client, query->filter, query->limit, query->oldest_first); });
  AddFilterOptions(query_command, query->filter);
  query_command->add_option("--limit", query->limit, "At most this many")->check(CLI::PositiveNumber);
  query_command->add_flag("--oldest-first", query->oldest_first, "In the order in which they were logged");

  struct TailOptions {
    FilterOptions filter;
    int64_t after = -1;
    bool follow = false;
  };
  auto tail = std::make_shared<TailOptions>();
  CLI::App* tail_command = Leaf(*group, env, "tail", "Follow the log",
                                "  postern audit tail\n  postern audit tail --agent support-bot -o json",
                                [&env, tail] { return Tail(env.client, tail->filter, tail->after); });
  AddFilterOptions(tail_command, tail->filter);
  tail_command->add_option("--after", tail->after, "Leaf index after which to start; default: now");
  tail_command->add_flag("-f,--follow", tail->follow, "Accepted for habit: tail always follows");

  Leaf(*group, env, "export", "Print the whole log as JSON Lines, with all that verification needs",
       "  postern audit export > audit.jsonl", [&env] {
         return ForEachExported(env.client, [](const v1::ExportAuditResponse& item) { PrintLine(ExportLine(item)); });
       });

  struct VerifyFlags {
    std::string file;
    std::vector<std::string> keys;
  };
  auto verify = std::make_shared<VerifyFlags>();
  CLI::App* verify_command =
      Leaf(*group, env, "verify", "Prove that nothing in the log is missing or altered; works offline on an export",
           "  postern audit verify\n  postern audit verify --file audit.jsonl --key audit-key.pem",
           [&env, verify] { return Verify(env.client, verify->file, verify->keys); });
  verify_command->add_option("--file", verify->file, "An export (- for stdin); default: ask the control plane");
  verify_command->add_option("--key", verify->keys, "PEM of a public key that you trust; may be repeated");
}

}  // namespace postern::cli
