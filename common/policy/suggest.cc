#include "common/policy/suggest.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/policy/check.h"
#include "common/policy/compiled.h"
#include "common/policy/judge_text.h"
#include "common/policy/masks.h"
#include "common/policy/recorded.h"
#include "common/policy/write_yaml.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace postern::policy {
namespace {

using sql::ObjectKind;
using sql::Operation;

// A column that every table has and that shows nothing: it stands in `columns.only` for "no column at all", as an empty
// list would mean every column.
constexpr std::string_view kNoColumn = "tableoid";
constexpr size_t kMostTests = 50;
constexpr size_t kMostExamples = 3;
constexpr size_t kCommentWidth = 110;

constexpr VerbSet kHasColumns = VerbSet(Operation::kSelect) | VerbSet(Operation::kInsert) | VerbSet(Operation::kUpdate);
constexpr VerbSet kOfRows = VerbSet(Operation::kSelect) | VerbSet(Operation::kUpdate) | VerbSet(Operation::kDelete) |
                            VerbSet(Operation::kLock) | VerbSet(Operation::kCopyOut);
constexpr VerbSet kShowsRows = VerbSet(Operation::kSelect) | VerbSet(Operation::kCopyOut);
constexpr VerbSet kChangesRows = VerbSet(Operation::kUpdate) | VerbSet(Operation::kDelete);

// What several statements have in common: the narrowest condition that all of them meet.
struct Common {
  bool first = true;
  std::vector<std::string> where_on;
  std::optional<int64_t> limit;
  bool where = true;
  std::optional<int64_t> rows_max;

  void Meet(std::vector<std::string> columns, std::optional<int64_t> its_limit, bool has_where,
            std::optional<int64_t> its_rows) {
    std::sort(columns.begin(), columns.end());
    if (std::exchange(first, false)) {
      where_on = std::move(columns);
      limit = its_limit;
      rows_max = its_rows;
    } else {
      std::erase_if(where_on, [&](const std::string& column) {
        return !std::binary_search(columns.begin(), columns.end(), column);
      });
      limit = limit && its_limit ? std::optional(std::max(*limit, *its_limit)) : std::nullopt;
      rows_max = rows_max && its_rows ? std::optional(std::max(*rows_max, *its_rows)) : std::nullopt;
    }
    where = where && has_where;
  }
};

// One rule in the making: one verb on one object.
struct Need {
  Operation verb = Operation::kSelect;
  ObjectKind kind = ObjectKind::kNone;
  std::string schema, name;
  bool all_columns = false;
  std::set<std::string> columns;
  Common common;
  std::optional<v1::HoldSettings> hold;
  // Some rule answers for what the function shows.
  bool vouched = false;
  int executions = 0;
  std::vector<std::string> examples;
};

using NeedKey = std::tuple<bool, Operation, std::string, std::string, ObjectKind>;  // held first

// Everything recorded of one agent, for one person, on one database.
struct Who {
  std::string agent, on_behalf_of, target, database;
  friend auto operator<=>(const Who&, const Who&) = default;
};

// What all records of a `Who` say of it.
struct Context {
  bool groups_known = true;
  std::set<std::string> groups;
  std::set<std::string> policies;  // that decided something
};

bool LoneRelation(const std::vector<sql::Effect>& effects) {
  const sql::Effect* first = nullptr;
  for (const sql::Effect& effect : effects) {
    if (effect.object_kind != ObjectKind::kRelation || effect.derived || IsCatalogRead(effect)) continue;
    if (first == nullptr) first = &effect;
    if (first->schema != effect.schema || first->name != effect.name) return false;
  }
  return true;
}

std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool space = absl::ascii_isspace(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) < 0x20;
    if (!space) line += c;
    if (space && !line.empty() && line.back() != ' ') line += ' ';
  }
  if (line.size() <= kCommentWidth) return line;
  size_t cut = kCommentWidth;
  while (cut > 0 && (static_cast<unsigned char>(line[cut]) & 0xc0) == 0x80) --cut;
  return line.substr(0, cut) + "…";
}

// The policy for one `Who`.
class Maker {
 public:
  Maker(const Who& who, const SuggestOptions& options, const Context& context)
      : who_(who), options_(options), context_(context) {
    const auto env = options.env_of_target.find(who.target);
    view_ = {who.target, who.database, env == options.env_of_target.end() ? "" : env->second};
    subject_ = {who.agent, who.on_behalf_of, {context.groups.begin(), context.groups.end()}};
    catalog_ = options.catalogs == nullptr ? nullptr : options.catalogs->Find(who.target, who.database);
    for (const v1::Policy& policy : options.existing) {
      CompiledDocument document = CompileDocument(policy);
      for (CompiledSubject& each : document.subjects) {
        if (!context.groups_known) each.group = Pattern("*");
      }
      if (!document.Matches(subject_, view_)) continue;
      existing_.push_back(&policy);
      documents_.push_back(std::move(document));
    }
  }

  absl::Status Add(const Recorded& recorded, Suggestion* suggestion) {
    const v1::AuditRecord& record = *recorded.record;
    if (record.decision() == "deny") {
      ++suggestion->denied;
      return absl::OkStatus();
    }
    if (record.effects().empty() && recorded.statements.empty()) {
      suggestion->problems.push_back(
          fmt::format("execution {} of session {} was not understood when it ran, so no rule can be made for it",
                      record.execution(), record.session_id()));
      return absl::OkStatus();
    }
    role_ = record.role();
    POSTERN_RETURN_IF_ERROR(AddMasks(recorded));
    const bool held = record.decision() == "hold";
    for (const sql::Effect& effect : recorded.effects) {
      if (effect.derived || NeedsNoRule(effect)) continue;
      const bool is_held = held && HoldsEffect(recorded, effect);
      Need& need = needs_[{!is_held, effect.operation, effect.schema, effect.name, effect.object_kind}];
      POSTERN_RETURN_IF_ERROR(Fill(recorded, effect, is_held, &need));
    }
    all_.push_back(recorded);
    return absl::OkStatus();
  }

  // The document, checked against what was recorded.
  std::string Write(const std::string& name, Suggestion* suggestion) {
    v1::Policy policy;
    policy.set_name(name);
    v1::SubjectMatcher* subject = policy.add_subjects();
    subject->set_agent(who_.agent);
    subject->set_on_behalf_of(who_.on_behalf_of);
    policy.mutable_targets()->add_names(who_.target);
    policy.mutable_targets()->add_databases(who_.database);
    SetSession(policy.mutable_session());
    std::vector<std::string> comments;
    std::map<std::string, int> ids;
    for (const auto& [key, need] : needs_) AddRule(need, &ids, &policy, &comments);
    AttachMasks(&policy, &comments);
    for (const v1::Policy* existing : existing_) policy.mutable_detect()->MergeFrom(existing->detect());
    Check(policy, suggestion);
    AddTests(&policy);
    return WriteYaml(policy, comments);
  }

 private:
  // With rules that hold by name, only what those name; else whatever writes, or everything where nothing does.
  bool HoldsEffect(const Recorded& recorded, const sql::Effect& effect) const {
    if (const CompiledRule* rule = FindRule(recorded.record->rule()); rule != nullptr) {
      return rule->verbs.Contains(effect.operation) && ObjectCovered(*rule, effect);
    }
    const bool writes = std::any_of(recorded.effects.begin(), recorded.effects.end(), [](const sql::Effect& each) {
      return !each.derived && sql::OperationWrites(each.operation);
    });
    return !writes || sql::OperationWrites(effect.operation);
  }

  const CompiledRule* FindRule(const std::string& name) const {
    for (const CompiledDocument& document : documents_) {
      for (const CompiledRule& rule : document.rules) {
        if (rule.ref.ToString() == name) return &rule;
      }
    }
    return nullptr;
  }

  absl::StatusOr<v1::HoldSettings> HoldOf(const v1::AuditRecord& record) const {
    for (const v1::Policy* policy : existing_) {
      for (const v1::Rule& rule : policy->rules()) {
        if (fmt::format("{}/{}", policy->name(), rule.id()) == record.rule() && rule.has_hold()) return rule.hold();
      }
    }
    v1::HoldSettings settings;
    for (const std::string& group : options_.hold_by) settings.add_by(group);
    if (!options_.hold_by.empty()) return settings;
    return Error(absl::StatusCode::kFailedPrecondition, "HOLD_UNKNOWN",
                 fmt::format("execution {} of session {} was held by {}, and nothing says who approves it",
                             record.execution(), record.session_id(), record.rule()),
                 "give the policies it ran under (--policy), or the groups (--hold-by)");
  }

  absl::Status Fill(const Recorded& recorded, const sql::Effect& effect, bool is_held, Need* need) {
    need->verb = effect.operation;
    need->kind = effect.object_kind;
    need->schema = effect.schema;
    need->name = effect.name;
    need->all_columns = need->all_columns || effect.all_columns;
    need->columns.insert(effect.columns.begin(), effect.columns.end());
    if (is_held) {
      POSTERN_ASSIGN_OR_RETURN(need->hold, HoldOf(*recorded.record));
    }
    need->vouched = need->vouched || IsVouched(effect);
    Meet(recorded, &need->common);
    ++need->executions;
    const std::string example = recorded.text.empty() ? "(a text with comments or escapes)" : OneLine(recorded.text);
    const bool is_new = std::find(need->examples.begin(), need->examples.end(), example) == need->examples.end();
    if (is_new && need->examples.size() < kMostExamples) need->examples.push_back(example);
    return absl::OkStatus();
  }

  bool IsVouched(const sql::Effect& effect) const {
    Matching matching;
    for (const CompiledDocument& document : documents_) matching.push_back(&document);
    return effect.operation == Operation::kCall && IsVouchedFor(matching, effect);
  }

  // Shape is known of messages of one statement; others meet no condition.
  void Meet(const Recorded& recorded, Common* common) const {
    std::optional<int64_t> rows;
    if (const CompiledRule* rule = FindRule(recorded.record->rule()); rule != nullptr && rule->rows_max > 0) {
      rows = rule->rows_max;
    }
    if (!options_.conditions || recorded.statements.size() != 1) {
      common->Meet({}, std::nullopt, false, rows);
      return;
    }
    const sql::Shape& shape = recorded.statements[0].shape;
    const auto writes = std::count_if(recorded.effects.begin(), recorded.effects.end(), [](const sql::Effect& effect) {
      return !effect.derived && kChangesRows.Contains(effect.operation);
    });
    common->Meet(LoneRelation(recorded.effects) ? shape.where_equality : std::vector<std::string>(), shape.limit,
                 shape.has_where && writes <= 1, rows);
  }

  // The policies whose session terms held.
  std::vector<v1::Policy> OfTerms() const {
    std::vector<v1::Policy> policies;
    for (const v1::Policy* policy : existing_) {
      if (!context_.groups_known && !context_.policies.contains(policy->name())) continue;
      v1::Policy& copy = policies.emplace_back(*policy);
      for (v1::SubjectMatcher& subject : *copy.mutable_subjects()) {
        if (context_.groups_known) continue;
        if (subject.agent().empty()) subject.set_agent("*");
        subject.clear_group();
      }
    }
    return policies;
  }

  void SetSession(v1::SessionSettings* session) const {
    const std::vector<v1::Policy> policies = OfTerms();
    v1::PolicySet set;
    set.mutable_policies()->Assign(policies.begin(), policies.end());
    const auto compiled = CompiledPolicy::Compile(set);
    if (policies.empty() || !compiled.ok()) {
      session->set_role(role_);
      return;
    }
    const SessionTerms terms = (*compiled)->TermsFor(subject_, view_);
    session->set_role(terms.role.empty() ? role_ : terms.role);
    session->set_ttl_seconds(terms.ttl_seconds);
    session->set_statement_timeout_ms(terms.statement_timeout_ms);
    session->set_on_disconnect_seconds(terms.on_disconnect_seconds);
    session->set_read_only(terms.read_only);
    const auto audits = [&](std::string_view word) {
      return std::count_if(policies.begin(), policies.end(),
                           [&](const v1::Policy& policy) { return policy.session().audit() == word; });
    };
    if (audits("strict") > 0) session->set_audit("strict");
    if (audits("relaxed") == std::ssize(policies)) session->set_audit("relaxed");
  }

  void AddRule(const Need& need, std::map<std::string, int>* ids, v1::Policy* policy,
               std::vector<std::string>* comments) const {
    v1::Rule* rule = policy->add_rules();
    rule->set_id(IdOf(need, ids));
    rule->set_effect(need.hold ? v1::RULE_EFFECT_HOLD : v1::RULE_EFFECT_ALLOW);
    rule->add_do_(std::string(sql::OperationName(need.verb)));
    std::string comment = fmt::format("{} execution{}, e.g.:", need.executions, need.executions == 1 ? "" : "s");
    for (const std::string& example : need.examples) comment += "\n  " + example;
    const std::string object = ObjectPatternOf(need, &comment);
    if (!object.empty()) *(need.vouched ? rule->mutable_functions() : rule->mutable_objects())->Add() = object;
    if (kHasColumns.Contains(need.verb)) {
      if (need.all_columns) {
        comment += "\nEvery column: a statement used whole rows.";
      } else if (need.columns.empty()) {
        rule->mutable_columns()->add_only(std::string(kNoColumn));
        comment += fmt::format("\nNo column was used; {} stands for none.", kNoColumn);
      }
    }
    if (!need.all_columns) {
      for (const std::string& column : need.columns) rule->mutable_columns()->add_only(column);
    }
    SetConditions(need, rule);
    if (need.hold) *rule->mutable_hold() = *need.hold;
    comments->push_back(std::move(comment));
  }

  static void SetConditions(const Need& need, v1::Rule* rule) {
    const Common& common = need.common;
    v1::Requirements require;
    if (kOfRows.Contains(need.verb)) {
      for (const std::string& column : common.where_on) require.add_where_on(column);
    }
    if (kShowsRows.Contains(need.verb) && common.limit && *common.limit > 0) require.set_limit_max(*common.limit);
    if (kChangesRows.Contains(need.verb) && common.where) require.set_where(true);
    if (require.ByteSizeLong() > 0) *rule->mutable_require() = require;
    const bool writes = kChangesRows.Contains(need.verb) || need.verb == Operation::kInsert;
    if (writes && common.rows_max) rule->mutable_affected()->set_rows_max(*common.rows_max);
  }

  static std::string ObjectPatternOf(const Need& need, std::string* comment) {
    switch (need.kind) {
      case ObjectKind::kNone:
        *comment += "\nWider than what was seen: the verb has no object here, so it is granted on every one.";
        return "";
      case ObjectKind::kSchema:
        *comment += "\nWider than what was seen: the schema itself is only named together with all that is in it.";
        return fmt::format("{}.*", need.name.empty() ? need.schema : need.name);
      default:
        return need.schema.empty() ? need.name : fmt::format("{}.{}", need.schema, need.name);
    }
  }

  static std::string IdOf(const Need& need, std::map<std::string, int>* ids) {
    std::string id = fmt::format("{}{}", sql::OperationName(need.verb), need.hold ? "-held" : "");
    if (!need.name.empty()) id += fmt::format("-{}{}{}", need.schema, need.schema.empty() ? "" : ".", need.name);
    for (char& c : id) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') c = '-';
    }
    if (id.size() > 56) id.resize(56);
    const int count = ++(*ids)[id];
    return count == 1 ? id : fmt::format("{}-{}", id, count);
  }

  // --- masks ---

  // Without policies the records' own words, "email: hash", are all that is known.
  absl::Status AddMasks(const Recorded& recorded) {
    if (!existing_.empty()) return absl::OkStatus();
    for (const std::string& text : recorded.record->masks()) {
      const size_t colon = text.rfind(": ");
      const std::string output = text.substr(0, colon);
      const std::optional<v1::MaskStrategy> strategy =
          StrategyFromName(colon == std::string::npos ? "" : text.substr(colon + 2));
      const std::string column = strategy ? MaskedColumn(recorded, output) : "";
      if (column.empty()) {
        return Error(absl::StatusCode::kFailedPrecondition, "MASK_UNPLACED",
                     fmt::format("execution {} of session {} showed `{}`, and of which column that is cannot be told",
                                 recorded.record->execution(), recorded.record->session_id(), text),
                     "give the policies it ran under (--policy), or the database's catalog (--catalog)");
      }
      v1::MaskRule mask;
      mask.set_column(column);
      mask.set_strategy(*strategy);
      Mask(mask);
    }
    return absl::OkStatus();
  }

  std::string MaskedColumn(const Recorded& recorded, const std::string& output) const {
    if (recorded.by_catalog && catalog_ != nullptr) {
      for (const sql::Statement& statement : recorded.statements) {
        for (const sql::OutputColumn& each : statement.outputs) {
          if (each.name == output && each.bare) return ColumnName(*each.bare, *catalog_);
        }
      }
      return "";
    }
    std::set<std::string> found;
    for (const sql::Effect& effect : recorded.effects) {
      const bool reads = effect.operation == Operation::kSelect && effect.object_kind == ObjectKind::kRelation;
      if (reads && std::find(effect.columns.begin(), effect.columns.end(), output) != effect.columns.end()) {
        found.insert(fmt::format("{}.{}.{}", effect.schema, effect.name, output));
      }
    }
    return found.size() == 1 ? *found.begin() : "";
  }

  // Of two masks of one column what is stricter.
  void Mask(const v1::MaskRule& mask) {
    const auto [at, is_new] = masks_.emplace(mask.column(), mask);
    if (is_new) return;
    v1::MaskRule& known = at->second;
    known.set_strategy(Stricter(known.strategy(), mask.strategy()));
    known.set_lookup(known.lookup() && mask.lookup());
    known.set_count_min(
        known.count_min() == 0 || mask.count_min() == 0 ? 0 : std::max(known.count_min(), mask.count_min()));
    const auto most = [](const v1::MaskRule& m) { return m.probes_max() > 0 ? m.probes_max() : kDefaultProbesMax; };
    known.set_probes_max(std::min(most(known), most(mask)));
    known.set_placeholder(known.placeholder() && mask.placeholder());
  }

  bool Touches(const v1::MaskRule& mask) const {
    ColumnPath path;
    if (!SplitColumnPath(mask.column(), &path)) return false;
    const Pattern schema(path.schema);
    const Pattern relation(path.relation);
    for (const Recorded& recorded : all_) {
      for (const sql::Effect& effect : recorded.effects) {
        if (effect.object_kind != ObjectKind::kRelation) continue;
        if (schema.Matches(effect.schema) && relation.Matches(effect.name)) return true;
        const sql::Relation* known = catalog_ == nullptr ? nullptr : catalog_->FindRelation(effect.schema, effect.name);
        // Without a catalog it may be a part of the one that the mask names.
        if (catalog_ == nullptr) return true;
        if (known == nullptr) continue;
        for (const sql::Relation* relative : RelativesOf(*known, *catalog_)) {
          if (schema.Matches(relative->schema) && relation.Matches(relative->name)) return true;
        }
      }
    }
    return false;
  }

  // Masks stand with the first rule that grants; those of other terms need a rule of their own, which grants the same.
  void AttachMasks(v1::Policy* policy, std::vector<std::string>* comments) {
    for (const v1::Policy* existing : existing_) {
      for (const v1::Rule& rule : existing->rules()) {
        for (const v1::MaskRule& mask : rule.columns().mask()) {
          if (Touches(mask)) Mask(mask);
        }
      }
    }
    if (masks_.empty() || policy->rules().empty()) return;
    std::map<std::pair<int64_t, bool>, std::vector<v1::MaskRule>> groups;
    const auto probed = [](const v1::MaskRule& mask) { return mask.lookup() || mask.count_min() > 0; };
    for (const auto& [column, mask] : masks_) {
      if (probed(mask)) groups[{mask.probes_max(), mask.placeholder()}].push_back(mask);
    }
    for (const auto& [column, mask] : masks_) {
      if (probed(mask)) continue;
      const auto fits =
          std::find_if(groups.begin(), groups.end(),
                       [&, placeholder = mask.placeholder()](const auto& g) { return g.first.second == placeholder; });
      (fits == groups.end() ? groups[{0, mask.placeholder()}] : fits->second).push_back(mask);
    }
    const v1::Rule first = policy->rules(0);
    bool is_first = true;
    for (const auto& [terms, masks] : groups) {
      v1::Rule* rule = policy->mutable_rules(0);
      if (!std::exchange(is_first, false)) {
        rule = policy->add_rules();
        *rule = first;
        rule->set_id(fmt::format("masks-{}", comments->size() + 1));
        comments->emplace_back("More masks that held; the rule grants what the first one does.");
      }
      for (const v1::MaskRule& mask : masks) *rule->mutable_columns()->add_mask() = mask;
    }
    comments->front() += "\nThe masks hold for the whole policy.";
  }

  // --- proof ---

  static sql::Statement Whole(const Recorded& recorded) {
    sql::Statement whole;
    whole.kind = sql::StatementKind::kUtility;
    whole.outputs_known = true;
    whole.effects = recorded.effects;
    if (recorded.statements.size() == 1) whole.shape = recorded.statements[0].shape;
    return whole;
  }

  void Check(const v1::Policy& policy, Suggestion* suggestion) {
    static const std::shared_ptr<const sql::Catalog> kNoCatalog = sql::Catalog::Build(v1::CatalogContents());
    v1::PolicySet set;
    *set.add_policies() = policy;
    const auto compiled = CompiledPolicy::Compile(set);
    if (!compiled.ok()) {
      suggestion->problems.emplace_back(compiled.status().message());
      return;
    }
    const IntentView all{{"all"}, {}};
    std::set<std::string> said;
    for (Recorded& recorded : all_) {
      const bool exact = recorded.by_catalog && catalog_ != nullptr;
      const sql::Catalog& catalog = exact ? *catalog_ : *kNoCatalog;
      const std::vector<sql::Statement> statements =
          exact ? recorded.statements : std::vector<sql::Statement>{Whole(recorded)};
      Verdict worst = Verdict::kAllow;
      std::string why;
      for (const sql::Statement& statement : statements) {
        const Decision decision = (*compiled)->Judge(subject_, view_, all, statement, catalog);
        if (decision.verdict <= worst) continue;
        worst = decision.verdict;
        why = decision.reason;
      }
      if (VerdictName(worst) == recorded.record->decision()) {
        ++suggestion->statements;
        continue;
      }
      std::string problem =
          fmt::format("execution {} of session {} was {}, and would be {}: {}", recorded.record->execution(),
                      recorded.record->session_id(), recorded.record->decision(), VerdictName(worst), why);
      if (said.insert(why).second) suggestion->problems.push_back(std::move(problem));
      recorded.text.clear();  // no test of it
    }
  }

  // One of each shape, as `policy test` will judge it.
  void AddTests(v1::Policy* policy) const {
    v1::PolicySet set;
    *set.add_policies() = *policy;
    const auto compiled = CompiledPolicy::Compile(set);
    if (!compiled.ok()) return;
    std::set<std::string> seen;
    for (const Recorded& recorded : all_) {
      if (policy->tests_size() == static_cast<int>(kMostTests)) return;
      if (recorded.text.empty() || !seen.insert(recorded.text).second) continue;
      const auto judged = JudgeText(**compiled, subject_, view_, recorded.text, catalog_.get());
      if (!judged.ok() || VerdictName(judged->verdict) != recorded.record->decision()) continue;
      v1::PolicyTest* test = policy->add_tests();
      test->set_name(fmt::format("recorded {}", policy->tests_size()));
      test->set_database(who_.database);
      test->set_sql(recorded.text);
      test->set_expect(recorded.record->decision());
    }
  }

  const Who who_;
  const SuggestOptions& options_;
  const Context context_;
  TargetView view_;
  Subject subject_;
  std::shared_ptr<const sql::Catalog> catalog_;
  std::vector<const v1::Policy*> existing_;
  std::vector<CompiledDocument> documents_;
  std::string role_;
  std::map<NeedKey, Need> needs_;
  std::map<std::string, v1::MaskRule> masks_;
  std::vector<Recorded> all_;
};

}  // namespace

namespace {

Who WhoOf(const v1::AuditRecord& record) {
  return {record.agent(), record.on_behalf_of(), record.target(), record.database()};
}

// Part 1 of a record in parts has the effects; the rest are pieces of its bytes.
bool IsStatement(const v1::AuditRecord& record) { return record.kind() == v1::STATEMENT_INTENT && record.part() <= 1; }

std::map<Who, Context> ContextsOf(const std::vector<v1::AuditRecord>& records, const SuggestOptions& options) {
  std::map<Who, Context> contexts;
  for (const v1::AuditRecord& record : records) {
    if (!IsStatement(record)) continue;
    Context& context = contexts[WhoOf(record)];
    const auto groups = options.groups_of_grant.find(record.grant_id());
    if (groups == options.groups_of_grant.end()) {
      context.groups_known = false;
    } else {
      context.groups.insert(groups->second.begin(), groups->second.end());
    }
    if (record.decision() != "deny") context.policies.insert(record.rule().substr(0, record.rule().find('/')));
  }
  return contexts;
}

}  // namespace

absl::StatusOr<Suggestion> Suggest(const std::vector<v1::AuditRecord>& records, const SuggestOptions& options) {
  Suggestion suggestion;
  Replayer replayer(options.catalogs);
  const std::map<Who, Context> contexts = ContextsOf(records, options);
  std::map<Who, Maker> makers;
  for (const v1::AuditRecord& record : records) {
    if (!IsStatement(record)) continue;
    const Who who = WhoOf(record);
    Maker& maker = makers.try_emplace(who, who, options, contexts.at(who)).first->second;
    POSTERN_RETURN_IF_ERROR(maker.Add(replayer.Read(record), &suggestion));
  }
  int number = 0;
  for (auto& [who, maker] : makers) {
    ++number;
    const std::string name = makers.size() == 1 ? options.name : fmt::format("{}-{}", options.name, number);
    if (!suggestion.yaml.empty()) suggestion.yaml += "---\n";
    suggestion.yaml += maker.Write(name, &suggestion);
  }
  return suggestion;
}

}  // namespace postern::policy
