#include "sidecar/session/oauthbearer.h"

#include <string>

#include "common/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace postern::session {
namespace {

using std::string_literals::operator""s;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(OauthBearer, TakesTheTokenOutOfTheInitialResponse) {
  for (const std::string& response : {
           "n,,\x01"s
           "auth=Bearer v4.public.a-b_c~d+e/f==\x01\x01"s,
           "y,,\x01"s
           "auth=bEaReR   v4.public.a-b_c~d+e/f==\x01\x01"s,
           "n,,\x01"s
           "host=db\x01port=5432\x01"s
           "auth=Bearer v4.public.a-b_c~d+e/f==\x01\x01"s,
       }) {
    const auto token = ReadBearerToken(response);
    ASSERT_TRUE(token.ok()) << token.status();
    EXPECT_EQ(token->Expose(), "v4.public.a-b_c~d+e/f==");
  }
}

TEST(OauthBearer, AnEmptyAuthAsksWhereToGetOne) {
  const auto token = ReadBearerToken(
      "n,,\x01"s
      "auth=\x01\x01"s);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_TRUE(token->empty());
}

TEST(OauthBearer, RefusesWhatBreaksTheGrammarWithoutQuotingIt) {
  for (const std::string& response : {
           ""s,
           "n"s,
           "n,"s,
           "n,,"s,
           "n,,\x01"s,
           "n,,\x01\x01"s,
           "x,,\x01"s
           "auth=Bearer secret\x01\x01"s,
           "p=tls-exporter,,\x01"s
           "auth=Bearer secret\x01\x01"s,
           "n,a=root,\x01"s
           "auth=Bearer secret\x01\x01"s,
           "n,,auth=Bearer secret\x01\x01"s,
           "n,,\x01"s
           "auth=Bearer secret"s,
           "n,,\x01"s
           "auth=Bearer secret\x01"s,
           "n,,\x01"s
           "auth=Bearer secret\x01\x01more"s,
           "n,,\x01"s
           "auth=Bearer secret\x01"s
           "auth=Bearer secret\x01\x01"s,
           "n,,\x01"s
           "auth=Basic secret\x01\x01"s,
           "n,,\x01"s
           "auth=Bearer \x01\x01"s,
           "n,,\x01"s
           "auth=Bearer se cret\x01\x01"s,
           "n,,\x01"s
           "auth=Bearer se=cret\x01\x01"s,
           "n,,\x01"s
           "auth=Bearer secret\0\x01\x01"s,
           "n,,\x01=x\x01"s
           "auth=Bearer secret\x01\x01"s,
           "n,,\x01novalue\x01"s
           "auth=Bearer secret\x01\x01"s,
       }) {
    const auto token = ReadBearerToken(response);
    ASSERT_FALSE(token.ok()) << testing::PrintToString(response);
    EXPECT_EQ(ReasonOf(token.status()), "OAUTH_MALFORMED");
    EXPECT_THAT(std::string(token.status().message()), Not(HasSubstr("cret")));
  }
}

TEST(OauthBearer, TheChallengeSaysWhereATokenComesFromIfThatIsKnown) {
  EXPECT_EQ(InvalidTokenChallenge({}), R"({"status":"invalid_token"})");
  EXPECT_EQ(
      InvalidTokenChallenge({"https://idp.example.com", "postern db"}),
      R"({"status":"invalid_token","openid-configuration":"https://idp.example.com/.well-known/openid-configuration",)"
      R"("scope":"postern db"})");
}

}  // namespace
}  // namespace postern::session
