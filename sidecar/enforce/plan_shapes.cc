#include "sidecar/enforce/plan_shapes.h"

#include <algorithm>
#include <utility>

namespace postern::sidecar {
namespace {

bool IsOnRows(sql::StatementKind kind) {
  return kind == sql::StatementKind::kQuery || kind == sql::StatementKind::kDml;
}

// The key of `shape` with the literals that matter.
std::string KeyWith(const std::vector<uint32_t>& read, std::string_view text, const sql::TextShape& shape) {
  std::string key = shape.key;
  for (const uint32_t i : read) {
    const sql::Literal& literal = shape.literals[i];
    // Not within any text.
    key.push_back('\0');
    key.append(text.substr(literal.begin, literal.end - literal.begin));
  }
  return key;
}

// Adds the places of what the analysis of a text of `shape` read. False: it cannot serve other texts.
bool AppendRead(const Plan& plan, const sql::TextShape& shape, std::vector<uint32_t>* read) {
  for (const sql::Statement& statement : plan.analysis->statements) {
    // What is written to masked relations is compared with what their masks put out.
    if (plan.sensitive && !statement.written_constants.empty()) return false;
    if (statement.unanalysable.has_value() || !IsOnRows(statement.kind) || !statement.settings.empty()) return false;
    for (const int location : statement.read_constants) {
      const auto literal = std::lower_bound(
          shape.literals.begin(), shape.literals.end(), location,
          [](const sql::Literal& each, int at) { return each.begin < static_cast<uint32_t>(std::max(at, 0)); });
      // -1 stands where its minus does.
      if (literal == shape.literals.end() || static_cast<int>(literal->begin) != location) return false;
      read->push_back(static_cast<uint32_t>(literal - shape.literals.begin()));
    }
  }
  return true;
}

}  // namespace

bool NamesSentinel(std::string_view text, const sql::TextShape& shape) {
  return std::any_of(shape.literals.begin(), shape.literals.end(), [&](const sql::Literal& literal) {
    return literal.is_string && mask::Masker::IsSentinel(sql::ContentOf(text, literal));
  });
}

std::optional<std::vector<uint32_t>> ReadLiterals(const Plan& plan, const sql::TextShape& shape) {
  if (plan.refusal.has_value() || plan.verdict != policy::Verdict::kAllow) return std::nullopt;
  std::vector<uint32_t> read;
  if (plan.changed == nullptr) {
    if (!AppendRead(plan, shape, &read)) return std::nullopt;
  } else {
    // What was found of the text as it was sent decided that it is changed, and how. The literals are the same.
    sql::TextShape changed;
    if (!sql::ShapeOf(plan.changed->forwarded, &changed) || changed.literals.size() != shape.literals.size() ||
        !AppendRead(*plan.unchanged, shape, &read) || !AppendRead(plan, changed, &read)) {
      return std::nullopt;
    }
  }
  std::sort(read.begin(), read.end());
  read.erase(std::unique(read.begin(), read.end()), read.end());
  return read;
}

std::shared_ptr<const ChangedText> ChangeFor(const Plan& plan, std::string_view text) {
  const ChangedText& first = *plan.changed;
  if (text == plan.text) return plan.changed;
  sql::TextShape was, is;
  if (!sql::ShapeOf(plan.text, &was) || !sql::ShapeOf(text, &is) || was.key != is.key ||
      was.literals.size() != is.literals.size()) {
    return nullptr;
  }
  auto changed = std::make_shared<ChangedText>();
  changed->asked = std::string(text);
  changed->columns = first.columns;
  size_t literal = 0;
  int64_t shift = 0;  // of what follows the literals so far
  for (const sql::TextEdit& edit : first.edits) {
    for (; literal < was.literals.size() && was.literals[literal].end <= edit.begin; ++literal) {
      shift = static_cast<int64_t>(is.literals[literal].end) - static_cast<int64_t>(was.literals[literal].end);
    }
    changed->edits.push_back({static_cast<size_t>(static_cast<int64_t>(edit.begin) + shift),
                              static_cast<size_t>(static_cast<int64_t>(edit.end) + shift), edit.text});
  }
  changed->forwarded = sql::ApplyEdits(text, changed->edits);
  // What goes out has the shape that was analysed.
  sql::TextShape analysed, forwarded;
  if (!sql::ShapeOf(first.forwarded, &analysed) || !sql::ShapeOf(changed->forwarded, &forwarded) ||
      analysed.key != forwarded.key) {
    return nullptr;
  }
  return changed;
}

std::shared_ptr<const Plan> FindByShape(PlanCache& cache, PlanKey key, const sql::TextShape& shape) {
  const std::string_view text = std::exchange(key.text, shape.key);
  key.shaped = true;
  std::shared_ptr<const Plan> first = cache.Find(key);
  if (first == nullptr || first->read_literals->empty()) return first;
  const std::string with = KeyWith(*first->read_literals, text, shape);
  key.text = with;
  return cache.Find(key);
}

void InsertByShape(PlanCache& cache, PlanKey key, const sql::TextShape& shape, std::shared_ptr<const Plan> plan) {
  const std::string_view text = std::exchange(key.text, shape.key);
  key.shaped = true;
  const std::shared_ptr<const Plan> first = cache.Find(key);
  if (first == nullptr) cache.Insert(key, plan);
  // What was read decides what is read next, so another list means another way through the analysis.
  if (plan->read_literals->empty() || (first != nullptr && first->read_literals != plan->read_literals)) return;
  const std::string with = KeyWith(*plan->read_literals, text, shape);
  key.text = with;
  cache.Insert(key, std::move(plan));
}

}  // namespace postern::sidecar
