#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/mask/conditions.h"
#include "sidecar/mask/mask.h"

namespace postern::mask {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

std::string Body(const std::vector<std::pair<char, std::string>>& fields) {
  std::string body;
  for (const auto& [type, text] : fields) body.append(1, type).append(text).push_back('\0');
  body.push_back('\0');
  return body;
}

std::map<char, std::string> Scrub(const std::string& body) {
  std::string_view rest;
  const std::string scrubbed = ScrubErrorFields(body);
  rest = scrubbed;
  std::map<char, std::string> fields;
  while (!rest.empty() && rest[0] != '\0') {
    const size_t end = rest.find('\0');
    EXPECT_NE(end, std::string_view::npos);
    EXPECT_TRUE(fields.emplace(rest[0], rest.substr(1, end - 1)).second);
    rest.remove_prefix(end + 1);
  }
  EXPECT_EQ(rest.size(), 1U);
  return fields;
}

TEST(ScrubErrorFields, KeepsSeverityAndSqlstateOnly) {
  EXPECT_THAT(
      Scrub(Body({{'S', "ERREUR"},
                  {'V', "ERROR"},
                  {'C', "23505"},
                  {'M', "duplicate key value violates unique constraint \"secret\""},
                  {'D', "Key (email)=(secret) already exists."},
                  {'H', "secret"},
                  {'P', "12"},
                  {'p', "7"},
                  {'q', "secret"},
                  {'W', "secret"},
                  {'s', "crm"},
                  {'t', "secret"},
                  {'c', "secret"},
                  {'d', "secret"},
                  {'n', "secret"},
                  {'F', "nbtinsert.c"},
                  {'L', "666"},
                  {'R', "_bt_check_unique"}})),
      ElementsAre(Pair('C', "23505"), Pair('M', "unique violation (details withheld: masked columns are involved)"),
                  Pair('S', "ERROR"), Pair('V', "ERROR")));
}

TEST(ScrubErrorFields, FixedMessagesStay) {
  EXPECT_EQ(Scrub(Body({{'S', "ERROR"}, {'C', "57014"}, {'M', "canceling statement due to user request"}}))['M'],
            "canceling statement due to user request");
}

TEST(ScrubErrorFields, SqlstateAloneProvesNothing) {
  // to_tsquery(email), email::regclass, and RAISE with a code of its choice.
  for (const char* sqlstate : {"42601", "42P01", "57014", "42501"}) {
    const auto fields = Scrub(Body({{'S', "ERROR"}, {'C', sqlstate}, {'M', "syntax error in tsquery: \"secret\""}}));
    EXPECT_THAT(fields.at('M'), Not(HasSubstr("secret"))) << sqlstate;
    EXPECT_EQ(fields.at('C'), sqlstate);
  }
}

TEST(ScrubErrorFields, PositionStaysWhereTheStatementDoesNotCompile) {
  EXPECT_EQ(Scrub(Body({{'S', "ERROR"}, {'C', "42703"}, {'M', "x"}, {'P', "15"}})).at('P'), "15");
  EXPECT_EQ(Scrub(Body({{'S', "ERROR"}, {'C', "42703"}, {'M', "x"}, {'P', "1 secret"}})).count('P'), 0U);
  EXPECT_EQ(Scrub(Body({{'S', "ERROR"}, {'C', "22P02"}, {'M', "x"}, {'P', "15"}})).count('P'), 0U);
}

TEST(ScrubErrorFields, NoticesKeepTheirSeverity) {
  const auto fields = Scrub(Body({{'S', "NOTICE"}, {'V', "NOTICE"}, {'C', "00000"}, {'M', "secret"}}));
  EXPECT_EQ(fields.at('V'), "NOTICE");
  EXPECT_THAT(fields.at('M'), Not(HasSubstr("secret")));
}

TEST(ScrubErrorFields, MalformedBodiesBecomeAnErrorOfTheirOwn) {
  const std::string good = Body({{'S', "FATAL"}, {'C', "23505"}, {'M', "secret"}});
  for (const std::string& body : {std::string(), std::string("S"), std::string("Ssecret"),
                                  good.substr(0, good.size() - 1), good + "secret", good + std::string(1, '\0'),
                                  Body({{'C', "23505"}, {'C', "secret"}}), Body({{'C', "secret"}, {'M', "secret"}})}) {
    const auto fields = Scrub(body);
    EXPECT_EQ(fields.at('C'), "XX000");
    EXPECT_EQ(fields.at('S'), "ERROR");
    EXPECT_THAT(fields.at('M'), Not(HasSubstr("secret")));
  }
}

TEST(ConditionName, FallsBackToTheClassAndThenToError) {
  EXPECT_EQ(ConditionName("22P02"), "invalid text representation");
  EXPECT_EQ(ConditionName("22ZZZ"), "data exception");
  EXPECT_EQ(ConditionName("ZZZZZ"), "error");
}

}  // namespace
}  // namespace postern::mask
