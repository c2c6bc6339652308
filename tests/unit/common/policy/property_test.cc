// What holds of every policy and statement, tried on random ones: order never matters, more denial never allows more,
// a narrower intent never allows more.
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using sql::Operation;

// Random policies and statements over few names, so that rules and effects meet often.
class Generator {
 public:
  explicit Generator(uint32_t seed) : engine_(seed) {}

  size_t Below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(engine_); }
  bool Chance(size_t one_in) { return Below(one_in) == 0; }
  std::mt19937& engine() { return engine_; }

  std::string Verb() {
    static const std::vector<std::string> kVerbs = {"select", "insert", "update", "delete",  "drop",     "read",
                                                    "write",  "ddl",    "all",    "session", "copy_out", "do_block"};
    return kVerbs[Below(kVerbs.size())];
  }
  std::string Object() {
    static const std::vector<std::string> kObjects = {"app.orders",    "app.*",        "orders", "*",
                                                      "app.customers", "app.orders_*", "hr.*",   "app.payroll"};
    return kObjects[Below(kObjects.size())];
  }
  std::string Column() {
    static const std::vector<std::string> kColumns = {"id", "status", "total", "email", "customer_id"};
    return kColumns[Below(kColumns.size())];
  }

  v1::Rule Rule(int number, v1::RuleEffect effect) {
    v1::Rule rule;
    rule.set_id("r" + std::to_string(number));
    rule.set_line(number);
    rule.set_effect(effect);
    rule.add_do_(Verb());
    if (Chance(2)) rule.add_do_(Verb());
    while (Chance(2)) rule.add_objects(Object());
    if (Chance(4)) rule.mutable_columns()->add_only(Column());
    if (effect == v1::RULE_EFFECT_HOLD) {
      rule.mutable_hold()->add_by("g" + std::to_string(Below(3)));
      rule.mutable_hold()->set_approvals(static_cast<int>(Below(3)));
    }
    if (effect == v1::RULE_EFFECT_DENY) return rule;
    if (Chance(5)) rule.mutable_columns()->add_except(Column());
    if (Chance(5)) rule.mutable_require()->add_where_on(Column());
    if (Chance(6)) rule.mutable_require()->set_limit_max(100);
    if (Chance(6)) rule.mutable_require()->set_where(true);
    if (Chance(4)) rule.mutable_affected()->set_rows_max(static_cast<int>(Below(4)) + 1);
    if (Chance(4)) {
      v1::MaskRule* mask = rule.mutable_columns()->add_mask();
      mask->set_column(Chance(2) ? "app.customers.email" : "app.orders.total");
      mask->set_strategy(Chance(2) ? v1::MASK_STRATEGY_HASH : v1::MASK_STRATEGY_NULL);
    }
    return rule;
  }

  v1::PolicySet Set() {
    v1::PolicySet set;
    const size_t policies = 1 + Below(3);
    for (size_t i = 0; i < policies; ++i) {
      v1::Policy* policy = set.add_policies();
      policy->set_name("p" + std::to_string(i));
      policy->set_path("p.yaml");
      policy->add_subjects()->set_group("agents");
      const int rules = static_cast<int>(Below(5));
      for (int r = 0; r < rules; ++r) {
        static constexpr v1::RuleEffect kEffects[] = {v1::RULE_EFFECT_ALLOW, v1::RULE_EFFECT_ALLOW,
                                                      v1::RULE_EFFECT_HOLD, v1::RULE_EFFECT_DENY};
        *policy->add_rules() = Rule(r, kEffects[Below(4)]);
      }
    }
    return set;
  }

  sql::Statement RandomStatement() {
    static constexpr Operation kOperations[] = {Operation::kSelect, Operation::kUpdate,  Operation::kDelete,
                                                Operation::kDrop,   Operation::kCopyOut, Operation::kTransaction};
    static const std::vector<std::string> kRelations = {"orders", "customers", "orders_2025", "payroll", "hr.staff"};
    std::vector<sql::Effect> effects;
    do {
      const Operation operation = kOperations[Below(6)];
      if (operation == Operation::kTransaction) {
        effects.push_back(Of(operation));
        continue;
      }
      std::vector<std::string> columns;
      while (Chance(2)) columns.push_back(Column());
      effects.push_back(On(operation, kRelations[Below(kRelations.size())], columns));
      effects.back().all_columns = Chance(6);
      effects.back().derived = Chance(8);
    } while (Chance(2));
    sql::Statement statement = Statement(std::move(effects));
    if (Chance(2)) statement.shape.where_equality.push_back(Column());
    statement.shape.has_where = !statement.shape.where_equality.empty();
    if (Chance(2)) statement.shape.limit = 50;
    if (Chance(3)) statement.predicates.push_back(Col(Chance(2) ? "customers.email" : "orders.total"));
    if (Chance(3)) statement.outputs = SelectColumns("customers", {"email"}).outputs;
    return statement;
  }

 private:
  std::mt19937 engine_;
};

std::shared_ptr<const CompiledPolicy> CompileSet(const v1::PolicySet& set) {
  auto compiled = CompiledPolicy::Compile(set);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return *compiled;
}

template <typename Repeated>
void Shuffle(Repeated* field, std::mt19937& engine) {
  for (int i = field->size() - 1; i > 0; --i) {
    field->SwapElements(i, std::uniform_int_distribution<int>(0, i)(engine));
  }
}

// All of a decision that a client, an approver or a record sees, apart from the per-effect list.
std::string Seen(const Decision& d) {
  std::string text = std::to_string(static_cast<int>(d.verdict)) + "|" + d.rule.ToString() + "|" + d.reason_code + "|" +
                     d.reason + "|" + d.hint + "|" + std::to_string(d.sensitive) + "|" +
                     std::to_string(d.hold.approvals) + "|" + std::to_string(d.affected_rows_max.value_or(0)) + "|";
  for (const OutputMask& mask : d.masks)
    text += std::to_string(mask.column) + ":" + std::to_string(mask.strategy) + ",";
  for (const std::string& group : d.hold.groups) text += group + ",";
  return text;
}

constexpr int kRounds = 3000;

TEST(Property, OrderOfRulesDocumentsAndEffectsNeverMatters) {
  Generator random(20251);
  int verdicts[3] = {};
  for (int i = 0; i < kRounds; ++i) {
    v1::PolicySet set = random.Set();
    sql::Statement statement = random.RandomStatement();
    const Decision before = JudgeFor(*CompileSet(set), statement);
    Shuffle(set.mutable_policies(), random.engine());
    for (v1::Policy& policy : *set.mutable_policies()) Shuffle(policy.mutable_rules(), random.engine());
    std::shuffle(statement.effects.begin(), statement.effects.end(), random.engine());
    const Decision after = JudgeFor(*CompileSet(set), statement);
    ASSERT_EQ(Seen(before), Seen(after)) << "round " << i;
    ++verdicts[static_cast<int>(before.verdict)];
  }
  // The generator is worth something only if it reaches every verdict often.
  for (const int count : verdicts) EXPECT_GT(count, kRounds / 50);
}

TEST(Property, AnotherDenyRuleNeverAllowsMore) {
  Generator random(20252);
  for (int i = 0; i < kRounds; ++i) {
    v1::PolicySet set = random.Set();
    const sql::Statement statement = random.RandomStatement();
    const Verdict before = JudgeFor(*CompileSet(set), statement).verdict;
    *set.mutable_policies(0)->add_rules() = random.Rule(99, v1::RULE_EFFECT_DENY);
    EXPECT_GE(JudgeFor(*CompileSet(set), statement).verdict, before) << "round " << i;
  }
}

TEST(Property, AnotherHoldRuleNeverTurnsAHoldIntoAnAllow) {
  Generator random(20253);
  for (int i = 0; i < kRounds; ++i) {
    v1::PolicySet set = random.Set();
    const sql::Statement statement = random.RandomStatement();
    const Verdict before = JudgeFor(*CompileSet(set), statement).verdict;
    *set.mutable_policies(0)->add_rules() = random.Rule(99, v1::RULE_EFFECT_HOLD);
    const Verdict after = JudgeFor(*CompileSet(set), statement).verdict;
    if (before != Verdict::kDeny) {
      EXPECT_GE(after, before) << "round " << i;
    } else {
      EXPECT_NE(after, Verdict::kAllow) << "round " << i;
    }
  }
}

TEST(Property, ANarrowerIntentNeverAllowsMore) {
  Generator random(20254);
  int narrowed = 0;
  for (int i = 0; i < kRounds; ++i) {
    const auto policy = CompileSet(random.Set());
    const sql::Statement statement = random.RandomStatement();
    IntentView wide{{random.Verb(), random.Verb()}, {}};
    if (random.Chance(2)) wide.objects = {random.Object(), random.Object()};
    IntentView narrow = wide;
    narrow.verbs.pop_back();
    if (!narrow.objects.empty()) {
      narrow.objects.pop_back();
    } else {
      narrow.objects = {random.Object()};
    }
    const Verdict all = JudgeFor(*policy, statement).verdict;
    const Verdict some = JudgeFor(*policy, statement, wide).verdict;
    const Verdict less = JudgeFor(*policy, statement, narrow).verdict;
    EXPECT_GE(some, all) << "round " << i;
    EXPECT_GE(less, some) << "round " << i;
    narrowed += less != all ? 1 : 0;
  }
  EXPECT_GT(narrowed, kRounds / 50);
}

}  // namespace
}  // namespace postern::policy::testing
