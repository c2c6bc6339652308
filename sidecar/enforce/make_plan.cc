#include "sidecar/enforce/make_plan.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <deque>
#include <utility>

#include "common/base/errors.h"
#include "common/policy/placeholder.h"
#include "fmt/format.h"
#include "sidecar/enforce/plan_record.h"

namespace postern::sidecar {
namespace {

using sql::Operation;
using sql::StatementKind;

// The session as analysis sees it. Notes whether the plan depends on names that only this session has.
class JudgedSession : public sql::SessionView {
 public:
  JudgedSession(const SessionState& state, const sql::Catalog& catalog) : state_(state), catalog_(catalog) {
    search_path = state.search_path;
    role = state.role;
  }

  // Postgres plans a prepared statement anew when search_path or the catalog has changed, and so do we. A cursor's plan
  // was fixed when it was opened.
  const sql::Statement* FindPrepared(std::string_view name) const override {
    local_ = true;
    const std::shared_ptr<const Prepared> prepared = state_.prepared(name);
    if (prepared == nullptr || depth_ == kDeepest) return nullptr;
    ++depth_;
    absl::StatusOr<sql::Analysis> analysis = sql::Analyze(prepared->text, catalog_, *this);
    --depth_;
    if (!analysis.ok() || analysis->statements.size() != 1) return nullptr;
    found_.push_back(*std::move(analysis));
    return &found_.back().statements.front();
  }

  const sql::Statement* FindCursor(std::string_view name) const override {
    local_ = true;
    return state_.FindCursor(name);
  }

  bool local() const { return local_; }

 private:
  // A protocol-level statement may be an EXECUTE, and so on.
  static constexpr int kDeepest = 8;

  const SessionState& state_;
  const sql::Catalog& catalog_;
  mutable std::deque<sql::Analysis> found_;
  mutable bool local_ = false;
  mutable int depth_ = 0;
};

Plan::Refusal RefusalOf(const absl::Status& status) {
  const ErrorDetails details = DetailsOf(status);
  Plan::Refusal refusal;
  refusal.message = std::string(status.message());
  refusal.hint = details.hint;
  if (details.reason == "SYNTAX_ERROR") {
    refusal.sqlstate = "42601";
    if (const auto it = details.metadata.find("position"); it != details.metadata.end()) {
      std::from_chars(it->second.data(), it->second.data() + it->second.size(), refusal.position);
    }
  } else if (details.reason == "STATEMENT_TOO_COMPLEX") {
    refusal.sqlstate = "54001";
    refusal.message = fmt::format("postern: {}", refusal.message);
  } else {
    refusal.sqlstate = "42501";
    refusal.detail = fmt::format("unanalysable: {}", refusal.message);
    refusal.message = "postern: the statement cannot be analysed";
  }
  return refusal;
}

void Deny(std::string_view reason_code, std::string reason, std::string hint, policy::Decision* decision) {
  decision->verdict = policy::Verdict::kDeny;
  decision->reason_code = std::string(reason_code);
  decision->reason = std::move(reason);
  decision->hint = std::move(hint);
}

bool IsUtf8(std::string_view encoding) {
  std::string name;
  for (const char c : encoding) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      name.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
  }
  return name.empty() || name == "utf8" || name == "unicode";
}

// Reads or writes rows by name, so that a catalog which only this transaction sees would change what it does.
bool ResolvesNames(const sql::Statement& statement) {
  if (statement.kind == StatementKind::kFetch) return false;  // its plan is fixed
  return std::any_of(statement.effects.begin(), statement.effects.end(), [](const sql::Effect& effect) {
    const bool rows = effect.operation <= Operation::kCopyIn || effect.operation == Operation::kCall;
    return rows &&
           (effect.object_kind == sql::ObjectKind::kRelation || effect.object_kind == sql::ObjectKind::kFunction);
  });
}

// What holds whatever the policy says, unless it allows whatever the statement may be.
void ApplyGate(const SessionState& state, const sql::Statement& statement, policy::Decision* decision) {
  if (decision->verdict == policy::Verdict::kDeny || decision->everything) return;
  if (state.search_path_uncertain() && statement.kind != StatementKind::kTransaction) {
    return Deny(policy::kReasonUnanalysable, "unanalysable: search_path is not known", "Try again.", decision);
  }
  if (state.catalog_changed_in_transaction() && ResolvesNames(statement)) {
    return Deny(policy::kReasonUnanalysable,
                "unanalysable: this transaction has changed the catalog, and what its names mean is not known before "
                "COMMIT",
                "Commit the change first.", decision);
  }
  if (statement.writes && std::any_of(statement.written_constants.begin(), statement.written_constants.end(),
                                      [](const std::string& value) { return mask::Masker::IsSentinel(value); })) {
    const Plan::Refusal refusal = SentinelRefusal();
    return Deny(policy::kReasonMaskSentinel, refusal.detail, refusal.hint, decision);
  }
  if (statement.copy && statement.copy->to && !decision->masks.empty() && !IsUtf8(statement.copy->encoding)) {
    return Deny(policy::kReasonUnanalysable, "unanalysable: masked columns are copied in UTF8 only",
                "Leave ENCODING out.", decision);
  }
}

// Has triggers or rules, itself or below.
bool RunsCode(const sql::Catalog& catalog, sql::Oid oid) {
  const sql::Relation* relation = catalog.FindRelation(oid);
  if (relation == nullptr) return false;
  if (relation->has_triggers || relation->has_rules) return true;
  const std::vector<const sql::Relation*> children = catalog.Descendants(oid);
  return std::any_of(children.begin(), children.end(),
                     [](const sql::Relation* child) { return child->has_triggers || child->has_rules; });
}

bool IsOpaque(const sql::Catalog& catalog, const sql::Statement& statement) {
  if (statement.unanalysable.has_value()) return true;
  return std::any_of(statement.effects.begin(), statement.effects.end(), [&](const sql::Effect& effect) {
    switch (effect.operation) {
      case Operation::kCall:
      case Operation::kDoBlock:
      case Operation::kUnsafeFunction:
      case Operation::kFunctionCall:
      case Operation::kExtension:
        return true;
      case Operation::kInsert:
      case Operation::kUpdate:
      case Operation::kDelete:
      case Operation::kTruncate:
      case Operation::kCopyIn:
        return RunsCode(catalog, effect.oid);
      default:
        return false;
    }
  });
}

bool ChangesNames(const sql::Statement& statement) {
  return std::any_of(statement.settings.begin(), statement.settings.end(), [](const sql::SettingChange& change) {
    return change.name == "ALL" || change.name == "search_path" || change.name == "role" ||
           change.name == "session_authorization";
  });
}

bool IsBarrier(const sql::Statement& statement, bool opaque) {
  if (opaque || statement.changes_catalog || ChangesNames(statement)) return true;
  switch (statement.kind) {
    case StatementKind::kPrepare:
    case StatementKind::kDeallocate:
    case StatementKind::kDeclareCursor:
    case StatementKind::kCloseCursor:
      return true;
    case StatementKind::kTransaction:
      return statement.transaction != sql::TransactionAction::kBegin &&
             statement.transaction != sql::TransactionAction::kSavepoint &&
             statement.transaction != sql::TransactionAction::kRelease;
    default:
      return false;
  }
}

bool IsStrict(const sql::Statement& statement, const policy::Decision& decision) {
  return decision.audit == "strict" || (decision.audit != "relaxed" && statement.writes);
}

void Describe(const sql::Statement& statement, const policy::Decision& decision, Plan* plan) {
  for (const sql::Effect& effect : statement.effects) {
    std::string text = effect.ToString();
    if (std::find(plan->effects.begin(), plan->effects.end(), text) == plan->effects.end()) {
      plan->effects.push_back(std::move(text));
    }
  }
  for (const policy::OutputMask& mask : decision.masks) {
    const auto column = static_cast<size_t>(mask.column);
    const std::string name = column < statement.outputs.size() ? statement.outputs[column].name : "?";
    std::string strategy = v1::MaskStrategy_Name(mask.strategy).substr(sizeof("MASK_STRATEGY_") - 1);
    for (char& c : strategy) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    plan->masks.push_back(fmt::format("{}: {}", name, strategy));
  }
}

// A text that our grammar does not know, as one statement of which nothing is known but its words: the server may know
// it, or say better than we what is wrong with it.
sql::Analysis Unread(std::string_view text) {
  sql::Analysis analysis;
  sql::Statement& statement = analysis.statements.emplace_back();
  statement.kind = StatementKind::kUtility;
  statement.length = static_cast<int>(text.size());
  statement.unanalysable = "the text does not parse";
  return analysis;
}

int Severity(policy::Verdict verdict) {
  switch (verdict) {
    case policy::Verdict::kAllow:
      return 0;
    case policy::Verdict::kHold:
      return 1;
    case policy::Verdict::kDeny:
      return 2;
  }
  return 2;
}

void Combine(const sql::Catalog& catalog, const SessionState& state, Plan* plan) {
  plan->verdict = policy::Verdict::kAllow;
  for (size_t i = 0; i < plan->decisions.size(); ++i) {
    const sql::Statement& statement = plan->analysis->statements[i];
    policy::Decision& decision = plan->decisions[i];
    ApplyGate(state, statement, &decision);
    if (Severity(decision.verdict) > Severity(plan->verdict)) {
      plan->verdict = decision.verdict;
      plan->decisive = i;
    }
    const bool opaque = IsOpaque(catalog, statement);
    plan->opaque.push_back(opaque);
    plan->barrier = plan->barrier || IsBarrier(statement, opaque);
    plan->sensitive = plan->sensitive || decision.sensitive;
    plan->detects = plan->detects || decision.detects();
    plan->strict_audit = plan->strict_audit || IsStrict(statement, decision);
    Describe(statement, decision, plan);
  }
}

// Judges the plan's text with placeholders where policy has them and it would be denied otherwise. nullptr: it stays
// as it is.
std::shared_ptr<Plan> WithPlaceholders(const CatalogInForce& in_force, const SessionIdentity& identity,
                                       const SessionState& state, const policy::CompiledPolicy& policy,
                                       const JudgedSession& session, const std::shared_ptr<Plan>& plan) {
  auto changed = policy::WithPlaceholders(policy, {identity.subject, identity.target, identity.intent}, plan->text,
                                          *plan->analysis, *in_force.catalog, session, {}, &plan->decisions);
  if (!changed) return nullptr;
  auto other = std::make_shared<Plan>();
  other->text = plan->text;
  other->policy_revision = plan->policy_revision;
  other->catalog_generation = plan->catalog_generation;
  other->fingerprint = plan->fingerprint;
  other->analysis = std::make_shared<const sql::Analysis>(std::move(changed->analysis));
  other->decisions = std::move(changed->decisions);
  Combine(*in_force.catalog, state, other.get());
  if (other->verdict == policy::Verdict::kDeny) return nullptr;
  other->changed = std::make_shared<const ChangedText>(
      ChangedText{plan->text, std::move(changed->text), std::move(changed->edits), std::move(changed->columns)});
  other->unchanged = plan;
  return other;
}

}  // namespace

std::shared_ptr<Plan> MakePlan(const CatalogInForce& in_force, const SessionIdentity& identity,
                               const SessionState& state, const policy::CompiledPolicy& policy, std::string_view text) {
  auto plan = std::make_shared<Plan>();
  plan->text = std::string(text);
  plan->policy_revision = policy.revision();
  plan->catalog_generation = in_force.generation;
  if (in_force.catalog == nullptr) {
    plan->refusal = {"57P03", "postern: the catalog of this database has not been read yet", "", "Try again.", 0};
    plan->local = true;
    return plan;
  }
  const JudgedSession session(state, *in_force.catalog);
  absl::StatusOr<sql::Analysis> analysis = sql::Analyze(text, *in_force.catalog, session);
  if (!analysis.ok() && DetailsOf(analysis.status()).reason == "SYNTAX_ERROR" &&
      policy.AllowsEverything(identity.subject, identity.target, identity.intent)) {
    analysis = Unread(text);
  }
  if (!analysis.ok()) {
    plan->refusal = RefusalOf(analysis.status());
  } else {
    plan->analysis = std::make_shared<const sql::Analysis>(*std::move(analysis));
    plan->fingerprint = fmt::format("{:016x}", plan->analysis->fingerprint);
    for (const sql::Statement& statement : plan->analysis->statements) {
      plan->decisions.push_back(
          policy.Judge(identity.subject, identity.target, identity.intent, statement, *in_force.catalog));
    }
    Combine(*in_force.catalog, state, plan.get());
    if (plan->verdict == policy::Verdict::kDeny) {
      if (auto changed = WithPlaceholders(in_force, identity, state, policy, session, plan)) plan = std::move(changed);
    }
  }
  audit::RecordWriter record(&plan->allowed_record);
  AppendJudgement(*plan, "allow", "", "", &record);
  plan->local = session.local();
  return plan;
}

}  // namespace postern::sidecar
