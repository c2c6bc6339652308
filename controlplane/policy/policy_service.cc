#include "controlplane/policy/policy_service.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

using Documents = std::vector<v1::PolicyDocument>;

template <typename Repeated>
Documents ToVector(const Repeated& documents) {
  return Documents(documents.begin(), documents.end());
}

bool HasError(const std::vector<v1::PolicyFinding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const v1::PolicyFinding& finding) { return finding.severity() == v1::PolicyFinding::ERROR; });
}

std::string Place(const std::string& path, int line) { return line > 0 ? fmt::format("{}:{}", path, line) : path; }

// The first error and how many more there are: what a person needs to begin with.
absl::Status Invalid(const std::vector<v1::PolicyFinding>& findings) {
  int errors = 0;
  std::string first;
  for (const v1::PolicyFinding& finding : findings) {
    if (finding.severity() != v1::PolicyFinding::ERROR) continue;
    if (errors++ == 0) first = fmt::format("{}: {}", Place(finding.path(), finding.line()), finding.message());
  }
  const std::string more = errors > 1 ? fmt::format(" (and {} more)", errors - 1) : "";
  return Error(absl::StatusCode::kFailedPrecondition, "POLICY_INVALID",
               fmt::format("the policy has errors: {}{}", first, more), "`postern policy lint` lists them all");
}

absl::Status TestsFailed(const std::vector<v1::PolicyTestResult>& results) {
  int failed = 0;
  std::string first;
  for (const v1::PolicyTestResult& result : results) {
    if (result.passed()) continue;
    if (failed++ == 0) {
      first = fmt::format("{}: {}: {}", Place(result.path(), result.line()), result.name(), result.detail());
    }
  }
  const std::string more = failed > 1 ? fmt::format(" (and {} more)", failed - 1) : "";
  return Error(absl::StatusCode::kFailedPrecondition, "POLICY_TESTS_FAILED",
               fmt::format("the policy's own tests fail: {}{}", first, more), "`postern policy test` shows them all");
}

// The catalog that lint checks names against: that of the one database that all registered targets serve, else none.
std::shared_ptr<const sql::Catalog> OnlyCatalog(const PolicyDeps& deps) {
  const auto targets = deps.targets.List("", 2);
  if (!targets.ok() || targets->size() != 1) return nullptr;
  const v1::Target& target = targets->front().target;
  if (target.databases_size() > 1) return nullptr;
  return deps.catalogs.Find(target.name(), target.default_database());
}

// The catalog that the request names; without one, the only one.
absl::StatusOr<std::shared_ptr<const sql::Catalog>> CatalogFor(const PolicyDeps& deps,
                                                               const v1::LintPolicyRequest& request) {
  if (request.target().empty()) return OnlyCatalog(deps);
  POSTERN_ASSIGN_OR_RETURN(const target::StoredTarget stored, deps.targets.Get(request.target()));
  const std::string& database = request.database().empty() ? stored.target.default_database() : request.database();
  std::shared_ptr<const sql::Catalog> catalog = deps.catalogs.Find(request.target(), database);
  if (catalog != nullptr) return catalog;
  return Error(absl::StatusCode::kNotFound, "CATALOG_UNKNOWN",
               fmt::format("the catalog of database {} on target {} is not known", database, request.target()),
               "a sidecar publishes it once it serves the target; or lint with a saved one: --catalog FILE");
}

struct Checked {
  std::vector<v1::Policy> policies;
  std::vector<v1::PolicyFinding> findings;
};

Checked Check(const Documents& documents, const sql::Catalog* catalog) {
  LoadResult loaded = Load(documents);
  Checked checked{.policies = std::move(loaded.policies), .findings = std::move(loaded.findings)};
  if (!HasError(checked.findings)) {
    for (v1::PolicyFinding& finding : Lint(checked.policies, catalog)) {
      checked.findings.push_back(std::move(finding));
    }
  }
  return checked;
}

// Which policies differ, by name. Source lines do not count as a difference.
void Compare(const v1::PolicySet& before, const v1::PolicySet& after, v1::ApplyPolicyResponse* response) {
  const auto by_name = [](const v1::PolicySet& set) {
    std::map<std::string, std::string> texts;
    for (v1::Policy policy : set.policies()) {
      policy.clear_path();
      for (v1::SubjectMatcher& subject : *policy.mutable_subjects()) subject.clear_line();
      for (v1::Rule& rule : *policy.mutable_rules()) {
        rule.clear_line();
        for (v1::MaskRule& mask : *rule.mutable_columns()->mutable_mask()) mask.clear_line();
      }
      for (v1::PolicyTest& test : *policy.mutable_tests()) test.clear_line();
      texts[policy.name()] = policy.SerializeAsString();
    }
    return texts;
  };
  const std::map<std::string, std::string> old_texts = by_name(before);
  const std::map<std::string, std::string> new_texts = by_name(after);
  for (const auto& [name, text] : new_texts) {
    const auto old = old_texts.find(name);
    if (old == old_texts.end()) {
      response->add_added(name);
    } else if (old->second != text) {
      response->add_changed(name);
    }
  }
  for (const auto& [name, text] : old_texts) {
    if (!new_texts.contains(name)) response->add_removed(name);
  }
}

absl::Status StaleRevision(int64_t in_force, int64_t wanted) {
  return Error(absl::StatusCode::kAborted, "STALE_REVISION",
               fmt::format("policy revision {} is in force, not {}", in_force, wanted),
               "look at the change that came between, then apply again");
}

// Checks, tests and (unless `dry_run`) stores the documents as the revision after `latest`.
absl::Status Install(const PolicyDeps& deps, const identity::Caller& caller, const v1::PolicyRevision& latest,
                     const Documents& documents, std::string comment, bool dry_run, v1::ApplyPolicyResponse* response) {
  Checked checked = Check(documents, OnlyCatalog(deps).get());
  for (const v1::PolicyFinding& finding : checked.findings) *response->add_findings() = finding;
  if (HasError(checked.findings)) return Invalid(checked.findings);

  const std::vector<v1::PolicyTestResult> results = RunTests(checked.policies, deps.catalogs);
  for (const v1::PolicyTestResult& result : results) *response->add_tests() = result;
  const bool passed = std::all_of(results.begin(), results.end(), [](const auto& result) { return result.passed(); });
  if (!passed) return TestsFailed(results);

  v1::PolicyRevision next;
  for (v1::Policy& policy : checked.policies) *next.mutable_set()->add_policies() = std::move(policy);
  // What does not compile must never come into force, whatever lint thinks of it.
  POSTERN_RETURN_IF_ERROR(CompiledPolicy::Compile(next.set()).status());
  Compare(latest.set(), next.set(), response);
  response->set_revision(latest.revision());
  if (dry_run) return absl::OkStatus();

  for (const v1::PolicyDocument& document : documents) *next.add_documents() = document;
  *next.mutable_create_time() = ToTimestamp(deps.clock.Now());
  next.set_author(caller.id());
  next.set_comment(std::move(comment));
  next.set_digest(DigestOf(documents));
  POSTERN_ASSIGN_OR_RETURN(const v1::PolicyRevision stored, deps.store.Append(std::move(next), latest.revision()));
  response->set_revision(stored.revision());
  POSTERN_RETURN_IF_ERROR(deps.book.Reload());
  deps.hub.PushPolicy();
  return absl::OkStatus();
}

}  // namespace

std::string DigestOf(const Documents& documents) {
  std::string bytes;
  for (const v1::PolicyDocument& document : documents) {
    bytes +=
        fmt::format("{}:{}{}:{}", document.path().size(), document.path(), document.text().size(), document.text());
  }
  return crypto::HexEncode(crypto::Sha256(bytes));
}

absl::Status LintPolicy(const PolicyDeps& deps, const v1::LintPolicyRequest& request,
                        v1::LintPolicyResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(const std::shared_ptr<const sql::Catalog> catalog, CatalogFor(deps, request));
  const Checked checked = Check(ToVector(request.documents()), catalog.get());
  for (const v1::PolicyFinding& finding : checked.findings) *response->add_findings() = finding;
  std::set<std::string> roles;
  for (const v1::Policy& policy : checked.policies) {
    if (!policy.session().role().empty()) roles.insert(policy.session().role());
  }
  for (const std::string& role : roles) response->add_session_roles(role);
  return absl::OkStatus();
}

absl::Status TestPolicy(const PolicyDeps& deps, const v1::TestPolicyRequest& request,
                        v1::TestPolicyResponse* response) {
  const LoadResult loaded = Load(ToVector(request.documents()));
  if (HasError(loaded.findings)) return Invalid(loaded.findings);
  for (v1::PolicyTestResult& result : RunTests(loaded.policies, deps.catalogs)) {
    *response->add_results() = std::move(result);
  }
  return absl::OkStatus();
}

absl::Status ApplyPolicy(const PolicyDeps& deps, const identity::Caller& caller, const v1::ApplyPolicyRequest& request,
                         v1::ApplyPolicyResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(const v1::PolicyRevision latest, deps.store.Latest());
  if (request.if_revision() != 0 && request.if_revision() != latest.revision()) {
    return StaleRevision(latest.revision(), request.if_revision());
  }
  return Install(deps, caller, latest, ToVector(request.documents()), request.comment(), request.dry_run(), response);
}

absl::Status RollbackPolicy(const PolicyDeps& deps, const identity::Caller& caller,
                            const v1::RollbackPolicyRequest& request, v1::ApplyPolicyResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(const v1::PolicyRevision latest, deps.store.Latest());
  POSTERN_ASSIGN_OR_RETURN(const v1::PolicyRevision wanted, deps.store.Get(request.revision()));
  std::string comment = request.comment();
  if (comment.empty()) comment = fmt::format("rollback to revision {}", request.revision());
  return Install(deps, caller, latest, ToVector(wanted.documents()), std::move(comment), /*dry_run=*/false, response);
}

absl::Status GetPolicy(const PolicyDeps& deps, const v1::GetPolicyRequest& request, v1::PolicyRevision* response) {
  POSTERN_ASSIGN_OR_RETURN(*response,
                           request.revision() == 0 ? deps.store.Latest() : deps.store.Get(request.revision()));
  return absl::OkStatus();
}

absl::Status ListPolicyRevisions(const PolicyDeps& deps, const v1::ListPolicyRevisionsRequest& request,
                                 v1::ListPolicyRevisionsResponse* response) {
  const int wanted = request.page_size() <= 0 ? 50 : std::min(request.page_size(), 1000);
  int64_t before = 0;
  const std::string& token = request.page_token();
  if (!token.empty()) {
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), before);
    if (error != std::errc() || end != token.data() + token.size() || before <= 0) {
      return Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID", "page_token is not one of this list's");
    }
  }
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::PolicyRevision> page, deps.store.List(before, wanted + 1));
  for (v1::PolicyRevision& revision : page) {
    if (response->revisions_size() == wanted) {
      response->set_next_page_token(std::to_string(response->revisions(wanted - 1).revision()));
      break;
    }
    *response->add_revisions() = std::move(revision);
  }
  return absl::OkStatus();
}

absl::Status ExplainPolicy(const PolicyDeps& deps, const v1::ExplainPolicyRequest& request,
                           v1::ExplainPolicyResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(const Subject subject, ParseSubject(request.subject()));
  POSTERN_ASSIGN_OR_RETURN(const target::StoredTarget stored, deps.targets.Get(request.target()));
  TargetView view{.name = stored.target.name(), .database = request.database(), .env = stored.target.env()};
  if (view.database.empty()) view.database = stored.target.default_database();

  std::shared_ptr<const CompiledPolicy> compiled = deps.book.Current();
  if (request.documents_size() > 0) {
    LoadResult loaded = Load(ToVector(request.documents()));
    if (HasError(loaded.findings)) return Invalid(loaded.findings);
    v1::PolicySet set;
    for (v1::Policy& policy : loaded.policies) *set.add_policies() = std::move(policy);
    POSTERN_ASSIGN_OR_RETURN(compiled, CompiledPolicy::Compile(set));
  }
  const std::shared_ptr<const sql::Catalog> catalog = deps.catalogs.Find(view.name, view.database);
  POSTERN_ASSIGN_OR_RETURN(*response, Explain(*compiled, subject, view, request.sql(), catalog.get()));
  response->set_revision(compiled->revision());
  return absl::OkStatus();
}

}  // namespace postern::policy
