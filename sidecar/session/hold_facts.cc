#include "sidecar/session/hold_facts.h"

#include <algorithm>
#include <utility>

#include "common/sql/literals.h"
#include "fmt/format.h"

namespace postern::session {
namespace {

using sql::Operation;

enum class Level : uint8_t { kHigh, kMedium, kLow };

struct Risk {
  Level level;
  std::string text;
  friend bool operator==(const Risk& a, const Risk& b) { return a.level == b.level && a.text == b.text; }
};

std::string NameOf(const sql::Effect& effect) {
  if (effect.name.empty()) return "";
  return effect.schema.empty() ? " " + effect.name : fmt::format(" {}.{}", effect.schema, effect.name);
}

void AddEffectRisk(const sql::Statement& statement, const sql::Effect& effect, std::vector<Risk>* risks) {
  const std::string name = NameOf(effect);
  switch (effect.operation) {
    case Operation::kDrop:
      risks->push_back({Level::kHigh, fmt::format("drops{}: it cannot be brought back", name)});
      return;
    case Operation::kTruncate:
      risks->push_back({Level::kHigh, fmt::format("empties{}", name)});
      return;
    case Operation::kDelete:
    case Operation::kUpdate: {
      const bool deletes = effect.operation == Operation::kDelete;
      if (statement.shape.has_where) {
        risks->push_back({Level::kLow, fmt::format("{} rows of{}", deletes ? "deletes" : "changes", name)});
      } else {
        risks->push_back(
            {Level::kHigh, fmt::format("{} every row of{}: no WHERE", deletes ? "deletes" : "changes", name)});
      }
      return;
    }
    case Operation::kAlter:
    case Operation::kCreate:
      risks->push_back({Level::kMedium, fmt::format("changes the schema:{}", name)});
      return;
    case Operation::kGrant:
      risks->push_back({Level::kHigh, fmt::format("changes who may do what with{}", name)});
      return;
    case Operation::kCall:
      risks->push_back({Level::kMedium, fmt::format("calls{}, which nobody looked into", name)});
      return;
    default:
      if (IsNamedPermission(effect.operation)) {
        risks->push_back({Level::kHigh, fmt::format("{}{}", sql::OperationName(effect.operation), name)});
      }
  }
}

bool IsPlainWrite(const sql::Statement& statement) {
  return statement.kind == sql::StatementKind::kDml && statement.writes && !statement.changes_catalog &&
         !statement.unanalysable.has_value() &&
         std::none_of(statement.effects.begin(), statement.effects.end(), [](const sql::Effect& effect) {
           return effect.operation == Operation::kCall || IsNamedPermission(effect.operation);
         });
}

}  // namespace

v1::StatementShape ShapeForApproval(const sidecar::Plan& plan, std::string_view sql, bool alone) {
  v1::StatementShape shape;
  sql::TextShape text;
  if (!sql::ShapeOf(sql, &text)) return shape;
  shape.set_key(text.key);
  const bool one = plan.analysis != nullptr && plan.analysis->statements.size() == 1;
  shape.set_template_able(alone && one && IsPlainWrite(plan.analysis->statements[0]));
  return shape;
}

Risks RisksOf(const sidecar::Plan& plan) {
  std::vector<Risk> risks;
  if (plan.analysis != nullptr) {
    for (const sql::Statement& statement : plan.analysis->statements) {
      for (const sql::Effect& effect : statement.effects) {
        if (!effect.derived) AddEffectRisk(statement, effect, &risks);
      }
    }
    if (plan.analysis->statements.size() > 1) {
      risks.push_back({Level::kMedium, fmt::format("{} statements in one message", plan.analysis->statements.size())});
    }
  }
  std::stable_sort(risks.begin(), risks.end(), [](const Risk& a, const Risk& b) { return a.level < b.level; });
  risks.erase(std::unique(risks.begin(), risks.end()), risks.end());
  constexpr std::string_view kNames[] = {"high", "medium", "low"};
  Risks result;
  result.level = risks.empty() ? "low" : std::string(kNames[static_cast<size_t>(risks.front().level)]);
  for (Risk& risk : risks) result.reasons.push_back(std::move(risk.text));
  return result;
}

}  // namespace postern::session
