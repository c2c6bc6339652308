// A policy that allows whatever there could be, and everything that makes it less than that.
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

constexpr std::string_view kVerbs =
    "all, set_role, set_protected, copy_file, copy_program, load, alter_system, create_function, do_block, extension, "
    "replication, function_call, unsafe_function, two_phase, role_admin, foreign, database_admin, statistics";

std::string Document(std::string_view name, std::string_view session, std::string_view rules) {
  return fmt::format(
      "apiVersion: postern/v1\nkind: Policy\nmetadata: {{name: {}}}\nsubjects: [{{group: agents}}]\n"
      "targets: {{databases: [shop]}}\n{}rules:\n{}",
      name, session, rules);
}

std::string AllowAll(std::string_view more = "") {
  return fmt::format("  - {{id: a, effect: allow, do: [{}]{}}}\n", kVerbs, more);
}

sql::Statement NotUnderstood() {
  sql::Statement statement = Statement({});
  statement.unanalysable = "relation x does not exist or is not visible";
  return statement;
}

TEST(Everything, AllowsWhatIsNotUnderstood) {
  const auto policy = Compiled(Document("p", "", AllowAll()));
  const Decision decision = JudgeFor(*policy, NotUnderstood());
  EXPECT_EQ(decision.verdict, Verdict::kAllow) << decision.reason;
  EXPECT_EQ(decision.rule.ToString(), "p/a");
  EXPECT_EQ(decision.audit, "strict") << "it may write";
  EXPECT_TRUE(decision.everything);
}

TEST(Everything, KeepsTheAuditModeThatPolicySets) {
  const auto policy = Compiled(Document("p", "session: {audit: relaxed}\n", AllowAll()));
  EXPECT_EQ(JudgeFor(*policy, NotUnderstood()).audit, "relaxed");
}

TEST(Everything, IsLostByOneReservation) {
  const std::string held = "hold: {by: [leads]}";
  const std::vector<std::string> less = {
      Document("p", "", AllowAll(", objects: [\"app.*\"]")),
      Document("p", "", AllowAll(", functions: [\"app.*\"]")),
      Document("p", "", AllowAll(", columns: {except: [salary]}")),
      Document("p", "", AllowAll(", columns: {only: [id]}")),
      Document("p", "", AllowAll(", columns: {mask: {app.customers.email: hash}}")),
      Document("p", "", AllowAll(", require: {where: true}")),
      Document("p", "", AllowAll(", require: {where_on: [id]}")),
      Document("p", "", AllowAll(", require: {limit_max: 10}")),
      Document("p", "", AllowAll(", affected: {rows_max: 10}")),
      Document("p", "", "  - {id: a, effect: allow, do: [all]}\n"),
      Document("p", "", AllowAll() + "  - {id: d, effect: deny, do: [drop], objects: [app.payroll]}\n"),
      Document("p", "", AllowAll() + "  - {id: h, effect: hold, do: [drop], " + held + "}\n"),
      Document("p", "", AllowAll() + "  - {id: b, effect: allow, do: [update], affected: {rows_max: 1}}\n"),
      Document("p", "session: {role: reader}\n", AllowAll()),
      Document("p", "session: {statement_timeout: 5s}\n", AllowAll()),
      Document("p", "session: {read_only: true}\n", AllowAll()),
      Document("p", "", AllowAll()) + "---\n" +
          Document("q", "", "  - {id: d, effect: deny, do: [drop], objects: [app.payroll]}\n"),
  };
  for (const std::string& yaml : less) {
    const Decision decision = JudgeFor(*Compiled(yaml), NotUnderstood());
    EXPECT_EQ(decision.verdict, Verdict::kDeny) << yaml;
    EXPECT_EQ(decision.reason_code, kReasonUnanalysable) << yaml;
    EXPECT_FALSE(decision.everything) << yaml;
  }
}

TEST(Everything, IsLostByANarrowerIntent) {
  const auto policy = Compiled(Document("p", "", AllowAll()));
  EXPECT_EQ(JudgeFor(*policy, NotUnderstood(), {{"select", "update"}, {}}).verdict, Verdict::kDeny);
  EXPECT_EQ(JudgeFor(*policy, NotUnderstood(), {{"all"}, {"app.orders"}}).verdict, Verdict::kDeny);
}

TEST(Everything, IsNotLostByARuleForTokensOrANarrowerAllow) {
  const auto policy = Compiled(Document("p", "",
                                        AllowAll() + "  - {id: b, effect: allow, do: [select], objects: [app.orders]}\n"
                                                     "  - {id: t, effect: hold, do: [delete], on: token, "
                                                     "hold: {by: [leads]}}\n"));
  EXPECT_EQ(JudgeFor(*policy, NotUnderstood()).verdict, Verdict::kAllow);
}

}  // namespace
}  // namespace postern::policy::testing
