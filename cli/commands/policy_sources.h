// Where policy commands take policies and catalogs from: files, or the control plane.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/client.h"
#include "common/policy/policy.h"
#include "common/sql/catalog.h"
#include "postern/v1/policy.pb.h"

namespace postern::cli {

// A file, or every .yaml and .yml below a folder in the order of their names.
absl::StatusOr<std::vector<v1::PolicyDocument>> ReadDocuments(const std::string& path);

// The same, loaded. FAILED_PRECONDITION/POLICY_INVALID with the first error.
absl::StatusOr<std::vector<v1::Policy>> LoadPolicies(const std::string& path);

// The policy in force. Needs Connect().
absl::StatusOr<v1::PolicySet> PolicyInForce(Client& client);

// What `postern target catalog` printed. INVALID_ARGUMENT/CATALOG_MALFORMED.
absl::StatusOr<v1::CatalogSnapshot> ReadCatalogFile(const std::string& path);
// As a sidecar published it; `database` empty: the target's default. Needs Connect().
absl::StatusOr<v1::CatalogSnapshot> FetchCatalog(Client& client, const std::string& target, std::string database);

// For RunTests() and Explain(): one catalog for every database, or none.
class OneCatalog final : public policy::CatalogSource {
 public:
  explicit OneCatalog(std::shared_ptr<const sql::Catalog> catalog) : catalog_(std::move(catalog)) {}
  std::shared_ptr<const sql::Catalog> Find(std::string_view /*target*/, std::string_view /*database*/) const override {
    return catalog_;
  }

 private:
  const std::shared_ptr<const sql::Catalog> catalog_;
};

}  // namespace postern::cli
