// Where commands take audit records from: the control plane, by a filter, or an export in a file.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "cli/commands/commands.h"
#include "postern/v1/audit.pb.h"

namespace postern::cli {

struct FilterOptions {
  std::string agent, on_behalf_of, grant, session, approval, target, relation, decision, kind, since, until, text;
};

// By the names that `--kind` takes.
const std::map<std::string, v1::AuditKind>& AuditKinds();

void AddFilterOptions(CLI::App* command, FilterOptions& options);
absl::StatusOr<v1::AuditFilter> ToFilter(const FilterOptions& options);

// Every record that matches, oldest first. Needs Connect().
absl::Status ForEachRecord(Client& client, const v1::AuditFilter& filter,
                           const std::function<void(const v1::LoggedRecord&)>& take);
// Every line of an export; `-` is stdin. DATA_LOSS/EXPORT_MALFORMED, NOT_FOUND/FILE_UNREADABLE.
absl::Status ForEachInFile(const std::string& path, const std::function<void(const v1::ExportAuditResponse&)>& take);

}  // namespace postern::cli
