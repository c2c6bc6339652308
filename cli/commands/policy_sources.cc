#include "cli/commands/policy_sources.h"

#include <algorithm>
#include <filesystem>

#include "cli/output.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "google/protobuf/util/json_util.h"
#include "postern/v1/policy.grpc.pb.h"
#include "postern/v1/sidecar.grpc.pb.h"
#include "postern/v1/target.grpc.pb.h"

namespace postern::cli {

namespace fs = std::filesystem;

absl::StatusOr<std::vector<v1::PolicyDocument>> ReadDocuments(const std::string& path) {
  std::error_code error;
  std::vector<std::pair<std::string, std::string>> files;  // shown path, real path
  if (fs::is_directory(path, error)) {
    for (fs::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
      const std::string extension = it->path().extension().string();
      if (it->is_regular_file() && (extension == ".yaml" || extension == ".yml")) {
        files.emplace_back(fs::relative(it->path(), path).string(), it->path().string());
      }
    }
    std::sort(files.begin(), files.end());
    if (files.empty()) return Usage(fmt::format("{} holds no .yaml file", path));
  } else {
    files.emplace_back(fs::path(path).filename().string(), path);
  }
  std::vector<v1::PolicyDocument> documents;
  for (const auto& [shown, real] : files) {
    v1::PolicyDocument document;
    document.set_path(shown);
    POSTERN_ASSIGN_OR_RETURN(*document.mutable_text(), ReadFile(real));
    documents.push_back(std::move(document));
  }
  return documents;
}

absl::StatusOr<std::vector<v1::Policy>> LoadPolicies(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const auto documents, ReadDocuments(path));
  policy::LoadResult loaded = policy::Load(documents);
  for (const v1::PolicyFinding& finding : loaded.findings) {
    if (finding.severity() != v1::PolicyFinding::ERROR) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "POLICY_INVALID",
                 fmt::format("{}:{}: {}", finding.path(), finding.line(), finding.message()),
                 fmt::format("`postern policy lint {}` lists everything", path));
  }
  return std::move(loaded.policies);
}

absl::StatusOr<v1::PolicySet> PolicyInForce(Client& client) {
  auto stub = client.Stub<v1::PolicyService>();
  POSTERN_ASSIGN_OR_RETURN(v1::PolicyRevision revision,
                           Call(*stub, &v1::PolicyService::Stub::GetPolicy, v1::GetPolicyRequest()));
  revision.mutable_set()->set_revision(revision.revision());
  return std::move(*revision.mutable_set());
}

absl::StatusOr<v1::CatalogSnapshot> ReadCatalogFile(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  v1::CatalogSnapshot snapshot;
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, &snapshot);
  if (!parsed.ok() || snapshot.contents().relations().empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "CATALOG_MALFORMED", fmt::format("{} holds no catalog", path),
                 "save one with: postern target catalog TARGET > catalog.json");
  }
  return snapshot;
}

absl::StatusOr<v1::CatalogSnapshot> FetchCatalog(Client& client, const std::string& target, std::string database) {
  if (database.empty()) {
    v1::GetTargetRequest get;
    get.set_name(target);
    auto targets = client.Stub<v1::TargetService>();
    POSTERN_ASSIGN_OR_RETURN(const v1::Target found, Call(*targets, &v1::TargetService::Stub::GetTarget, get));
    database = found.default_database();
  }
  v1::GetCatalogRequest request;
  request.set_target(target);
  request.set_database(std::move(database));
  auto stub = client.Stub<v1::SidecarService>();
  return Call(*stub, &v1::SidecarService::Stub::GetCatalog, request);
}

}  // namespace postern::cli
