#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/commands/commands.h"
#include "cli/commands/policy_sources.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "postern/v1/policy.grpc.pb.h"

namespace postern::cli {
namespace {

// Prints findings to stdout; returns the number of errors.
int PrintFindings(const google::protobuf::RepeatedPtrField<v1::PolicyFinding>& findings) {
  int errors = 0;
  for (const v1::PolicyFinding& finding : findings) {
    const bool error = finding.severity() == v1::PolicyFinding::ERROR;
    errors += error ? 1 : 0;
    PrintLine(fmt::format("{}:{}: {}: {}", finding.path(), finding.line(), error ? "error" : "warning",
                          Printable(finding.message())));
  }
  return errors;
}

int PrintTests(const google::protobuf::RepeatedPtrField<v1::PolicyTestResult>& results) {
  int failed = 0;
  for (const v1::PolicyTestResult& result : results) {
    failed += result.passed() ? 0 : 1;
    PrintLine(fmt::format(
        "{} {}/{}{}", result.passed() ? "ok  " : "FAIL", result.policy(), Printable(result.name()),
        result.passed() ? "" : fmt::format(" ({}:{}): {}", result.path(), result.line(), Printable(result.detail()))));
  }
  return failed;
}

absl::Status PolicyInvalid(std::string_view what) {
  return Error(absl::StatusCode::kFailedPrecondition, "POLICY_INVALID", what, "mend the lines above");
}

// Which catalog policies are checked against: a saved one, without any control plane; or a target's.
struct CheckOptions {
  std::string path = {}, catalog = {}, target = {}, database = {};
};

void AddCheckOptions(CLI::App* command, CheckOptions& options) {
  command->add_option("path", options.path, "A YAML file, or a folder of them")->required();
  command->add_option("--catalog", options.catalog,
                      "A file of `postern target catalog`: checks names against it, without the control plane");
}

absl::StatusOr<v1::LintPolicyResponse> LintOffline(const CheckOptions& options,
                                                   const std::vector<v1::PolicyDocument>& documents) {
  POSTERN_ASSIGN_OR_RETURN(const v1::CatalogSnapshot snapshot, ReadCatalogFile(options.catalog));
  const std::shared_ptr<const sql::Catalog> catalog = sql::Catalog::Build(snapshot.contents());
  policy::LoadResult loaded = policy::Load(documents);
  std::vector<v1::PolicyFinding> findings = std::move(loaded.findings);
  const bool broken = std::any_of(findings.begin(), findings.end(), [](const v1::PolicyFinding& finding) {
    return finding.severity() == v1::PolicyFinding::ERROR;
  });
  if (!broken) {
    for (v1::PolicyFinding& finding : policy::Lint(loaded.policies, catalog.get())) {
      findings.push_back(std::move(finding));
    }
  }
  v1::LintPolicyResponse response;
  response.mutable_findings()->Assign(findings.begin(), findings.end());
  return response;
}

absl::StatusOr<v1::LintPolicyResponse> LintOnline(Client& client, const CheckOptions& options,
                                                  const std::vector<v1::PolicyDocument>& documents) {
  v1::LintPolicyRequest request;
  request.mutable_documents()->Assign(documents.begin(), documents.end());
  request.set_target(options.target);
  request.set_database(options.database);
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::PolicyService>();
  return Call(*stub, &v1::PolicyService::Stub::LintPolicy, request);
}

absl::Status Lint(Client& client, const CheckOptions& options) {
  POSTERN_ASSIGN_OR_RETURN(const auto documents, ReadDocuments(options.path));
  POSTERN_ASSIGN_OR_RETURN(const v1::LintPolicyResponse response, options.catalog.empty()
                                                                      ? LintOnline(client, options, documents)
                                                                      : LintOffline(options, documents));
  if (client.json) {
    PrintLine(ToJson(response));
    const auto is_error = [](const auto& f) { return f.severity() == v1::PolicyFinding::ERROR; };
    return std::any_of(response.findings().begin(), response.findings().end(), is_error)
               ? PolicyInvalid("the policy has errors")
               : absl::OkStatus();
  }
  if (PrintFindings(response.findings()) > 0) return PolicyInvalid("the policy has errors");
  PrintLine(fmt::format("{} document(s), no errors", documents.size()));
  return absl::OkStatus();
}

absl::StatusOr<v1::TestPolicyResponse> TestOffline(const CheckOptions& options) {
  POSTERN_ASSIGN_OR_RETURN(const v1::CatalogSnapshot snapshot, ReadCatalogFile(options.catalog));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::Policy> policies, LoadPolicies(options.path));
  v1::TestPolicyResponse response;
  for (v1::PolicyTestResult& result :
       policy::RunTests(policies, OneCatalog(sql::Catalog::Build(snapshot.contents())))) {
    *response.add_results() = std::move(result);
  }
  return response;
}

absl::StatusOr<v1::TestPolicyResponse> TestOnline(Client& client, const CheckOptions& options) {
  v1::TestPolicyRequest request;
  POSTERN_ASSIGN_OR_RETURN(const auto documents, ReadDocuments(options.path));
  request.mutable_documents()->Assign(documents.begin(), documents.end());
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::PolicyService>();
  return Call(*stub, &v1::PolicyService::Stub::TestPolicy, request);
}

absl::Status Test(Client& client, const CheckOptions& options) {
  POSTERN_ASSIGN_OR_RETURN(const v1::TestPolicyResponse response,
                           options.catalog.empty() ? TestOnline(client, options) : TestOffline(options));
  int failed = 0;
  if (client.json) {
    PrintLine(ToJson(response));
    for (const auto& result : response.results()) failed += result.passed() ? 0 : 1;
  } else {
    failed = PrintTests(response.results());
    PrintLine(fmt::format("{} passed, {} failed", response.results_size() - failed, failed));
  }
  if (failed == 0) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "POLICY_TESTS_FAILED", fmt::format("{} test(s) failed", failed));
}

void PrintApplied(const v1::ApplyPolicyResponse& response, bool dry_run) {
  PrintFindings(response.findings());
  PrintTests(response.tests());
  const auto print = [](const char* word, const auto& names) {
    if (!names.empty()) PrintLine(fmt::format("{}: {}", word, fmt::join(names, ", ")));
  };
  print("added", response.added());
  print("removed", response.removed());
  print("changed", response.changed());
  PrintLine(dry_run ? "nothing was stored (dry run)" : fmt::format("revision {} is in force", response.revision()));
}

// A refused apply says what is wrong by running lint and the tests again: the error itself carries only their number.
absl::Status ExplainRefusal(Client& client, const std::string& path, const absl::Status& refused) {
  const std::string reason = ReasonOf(refused);
  if (!client.json && reason == "POLICY_INVALID") Lint(client, {.path = path}).IgnoreError();
  if (!client.json && reason == "POLICY_TESTS_FAILED") Test(client, {.path = path}).IgnoreError();
  return refused;
}

absl::Status Apply(Client& client, const std::string& path, bool dry_run, const std::string& comment,
                   int64_t if_revision) {
  v1::ApplyPolicyRequest request;
  POSTERN_ASSIGN_OR_RETURN(const auto documents, ReadDocuments(path));
  request.mutable_documents()->Assign(documents.begin(), documents.end());
  request.set_dry_run(dry_run);
  request.set_comment(comment);
  request.set_if_revision(if_revision);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::PolicyService>();
  const auto response = Call(*stub, &v1::PolicyService::Stub::ApplyPolicy, request);
  if (!response.ok()) return ExplainRefusal(client, path, response.status());
  if (client.json) {
    PrintLine(ToJson(*response));
  } else {
    PrintApplied(*response, dry_run);
  }
  return absl::OkStatus();
}

absl::Status GetPolicy(Client& client, int64_t revision) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::PolicyService>();
  v1::GetPolicyRequest request;
  request.set_revision(revision);
  POSTERN_ASSIGN_OR_RETURN(const v1::PolicyRevision found, Call(*stub, &v1::PolicyService::Stub::GetPolicy, request));
  if (client.json) {
    PrintLine(ToJson(found));
    return absl::OkStatus();
  }
  for (const v1::PolicyDocument& document : found.documents()) {
    PrintLine(fmt::format("# revision {}, {}", found.revision(), document.path()));
    PrintLine(document.text());
  }
  return absl::OkStatus();
}

absl::Status History(Client& client, int limit) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::PolicyService>();
  v1::ListPolicyRevisionsRequest request;
  v1::ListPolicyRevisionsResponse all;
  do {
    request.set_page_size(std::min(1000, limit - all.revisions_size()));
    POSTERN_ASSIGN_OR_RETURN(v1::ListPolicyRevisionsResponse page,
                             Call(*stub, &v1::PolicyService::Stub::ListPolicyRevisions, request));
    all.mutable_revisions()->MergeFrom(page.revisions());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.revisions_size() < limit);
  all.set_next_page_token(request.page_token());
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"REVISION", "TIME", "AUTHOR", "DIGEST", "COMMENT"});
  for (const v1::PolicyRevision& revision : all.revisions()) {
    table.Add({std::to_string(revision.revision()), FormatTime(revision.create_time()), revision.author(),
               revision.digest().substr(0, 12), revision.comment()});
  }
  table.Print("no revisions");
  return absl::OkStatus();
}

absl::Status Rollback(Client& client, int64_t revision, const std::string& comment) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::PolicyService>();
  v1::RollbackPolicyRequest request;
  request.set_revision(revision);
  request.set_comment(comment);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::ApplyPolicyResponse response,
                           Call(*stub, &v1::PolicyService::Stub::RollbackPolicy, request));
  if (client.json) {
    PrintLine(ToJson(response));
  } else {
    PrintApplied(response, false);
  }
  return absl::OkStatus();
}

// "output: code = app.customers.phone, masked (last4)", "output: n <- app.orders.id, app.orders.total".
std::string LineageOf(const v1::ExplainedOutput& output) {
  std::string line = "output: " + Printable(output.name());
  if (!output.sources().empty()) {
    line += fmt::format(" {} {}", output.unchanged() ? "=" : "<-", fmt::join(output.sources(), ", "));
  }
  if (output.opaque()) line += " (and what analysis cannot see)";
  if (!output.mask().empty()) line += fmt::format(", masked ({})", output.mask());
  return line;
}

void PrintExplanation(const v1::ExplainPolicyResponse& response) {
  PrintLine(fmt::format("{} (revision {})", response.decision(), response.revision()));
  if (!response.reason().empty()) PrintLine("  " + Printable(response.reason()));
  for (const v1::ExplainedEffect& effect : response.effects()) {
    PrintLine(fmt::format(
        "effect: {} {}{} -> {}{}", effect.operation(), effect.object(),
        effect.columns().empty() ? "" : fmt::format(" ({})", fmt::join(effect.columns(), ", ")), effect.decision(),
        effect.rule().empty() ? "" : fmt::format(" by {} ({}:{})", effect.rule(), effect.path(), effect.line())));
    for (const std::string& miss : effect.near_misses()) PrintLine("  nearly: " + Printable(miss));
  }
  for (const v1::ExplainedOutput& output : response.outputs()) PrintLine(LineageOf(output));
  if (!response.tested().empty()) PrintLine(fmt::format("conditions test: {}", fmt::join(response.tested(), ", ")));
  if (!response.stored().empty()) PrintLine(fmt::format("stores values of: {}", fmt::join(response.stored(), ", ")));
  for (const std::string& mask : response.masks()) PrintLine("mask: " + Printable(mask));
  if (!response.forwarded_sql().empty()) PrintLine("forwarded as: " + Printable(response.forwarded_sql()));
  if (!response.smallest_change().empty()) PrintLine("to change that: " + Printable(response.smallest_change()));
}

absl::Status Explain(Client& client, v1::ExplainPolicyRequest request, const std::string& documents_path) {
  if (!documents_path.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const auto documents, ReadDocuments(documents_path));
    request.mutable_documents()->Assign(documents.begin(), documents.end());
  }
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::PolicyService>();
  POSTERN_ASSIGN_OR_RETURN(const v1::ExplainPolicyResponse response,
                           Call(*stub, &v1::PolicyService::Stub::ExplainPolicy, request));
  if (client.json) {
    PrintLine(ToJson(response));
  } else {
    PrintExplanation(response);
  }
  return absl::OkStatus();
}

void AddChecks(CLI::App& group, Env& env) {
  auto lint = std::make_shared<CheckOptions>();
  CLI::App* lint_command = Leaf(group, env, "lint", "Check policy files without storing them",
                                "  postern policy lint ./policies\n"
                                "  postern policy lint ./policies --target orders\n"
                                "  postern policy lint ./policies --catalog catalog.json",
                                [&env, lint] { return Lint(env.client, *lint); });
  AddCheckOptions(lint_command, *lint);
  lint_command->add_option("--target", lint->target,
                           "Check names against the catalog of this target; default: that of the only one");
  lint_command->add_option("--database", lint->database, "Its database; default: the target's");
  auto test = std::make_shared<CheckOptions>();
  AddCheckOptions(Leaf(group, env, "test", "Run the tests that the files embed",
                       "  postern policy test ./policies\n  postern policy test ./policies --catalog catalog.json",
                       [&env, test] { return Test(env.client, *test); }),
                  *test);
}

void AddChanges(CLI::App& group, Env& env) {
  struct ApplyOptions {
    std::string path, comment;
    bool dry_run = false;
    int64_t if_revision = 0;
  };
  auto options = std::make_shared<ApplyOptions>();
  CLI::App* apply = Leaf(
      group, env, "apply", "Replace the policy set with what PATH holds; its tests must pass",
      "  postern policy apply ./policies --comment \"let support refund\"\n  postern policy apply p.yaml --dry-run",
      [&env, options] {
        return Apply(env.client, options->path, options->dry_run, options->comment, options->if_revision);
      });
  apply->add_option("path", options->path, "A YAML file, or a folder of them: the whole set")->required();
  apply->add_flag("--dry-run", options->dry_run, "Lint and test only");
  apply->add_option("--comment", options->comment, "Why; kept in the history");
  apply->add_option("--if-revision", options->if_revision, "Refuse unless this revision is in force");

  auto revision = std::make_shared<int64_t>(0);
  auto comment = std::make_shared<std::string>();
  CLI::App* rollback =
      Leaf(group, env, "rollback", "Make an earlier revision the newest one", "  postern policy rollback 4",
           [&env, revision, comment] { return Rollback(env.client, *revision, *comment); });
  rollback->add_option("revision", *revision, "Revision to return to")->required()->check(CLI::PositiveNumber);
  rollback->add_option("--comment", *comment, "Why; kept in the history");
}

void AddReads(CLI::App& group, Env& env) {
  auto revision = std::make_shared<int64_t>(0);
  Leaf(group, env, "get", "Print the policy in force, or a revision",
       "  postern policy get\n  postern policy get --revision 3",
       [&env, revision] { return GetPolicy(env.client, *revision); })
      ->add_option("--revision", *revision, "Revision; default: the one in force");
  auto limit = std::make_shared<int>(50);
  Leaf(group, env, "history", "List revisions, newest first", "  postern policy history",
       [&env, limit] { return History(env.client, *limit); })
      ->add_option("--limit", *limit, "At most this many")
      ->check(CLI::PositiveNumber);

  struct ExplainOptions {
    std::string as, target, database, sql, policy;
  };
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* explain =
      Leaf(group, env, "explain", "Say what would happen to a statement, and why",
           "  postern policy explain --as support-bot@agents --target demo --sql \"delete from app.orders\"\n"
           "  SUBJECT is agent[/on_behalf_of][@group,group]",
           [&env, options] {
             v1::ExplainPolicyRequest query;
             query.set_subject(options->as);
             query.set_target(options->target);
             query.set_database(options->database);
             query.set_sql(options->sql);
             return Explain(env.client, std::move(query), options->policy);
           });
  explain->add_option("--as", options->as, "SUBJECT: agent[/on_behalf_of][@group,group]")->required();
  explain->add_option("--target", options->target, "Name of the target")->required();
  explain->add_option("--database", options->database, "Database; default: the target's");
  explain->add_option("--sql", options->sql, "The statement")->required();
  explain->add_option("--policy", options->policy, "Explain against these files instead of the policy in force");
}

}  // namespace

void AddPolicy(CLI::App& app, Env& env) {
  CLI::App* group = Group(app, env, "policy", "Check, test, apply and explain policy");
  AddChecks(*group, env);
  AddChanges(*group, env);
  AddReads(*group, env);
  AddWhoCan(*group, env);
  AddSuggest(*group, env);
}

}  // namespace postern::cli
