#include "controlplane/identity/issuer_keys.h"

#include <map>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "common/base/errors.h"
#include "tests/unit/controlplane/identity/fixture.h"

namespace postern::identity {
namespace {

constexpr std::string_view kIssuer = "https://issuer.example";
constexpr std::string_view kDiscovery = "https://issuer.example/.well-known/openid-configuration";
constexpr std::string_view kJwks = "https://keys.example/jwks";

// Answers what it was told to, and counts.
class ScriptedFetcher final : public HttpFetcher {
 public:
  absl::StatusOr<std::string> Get(std::string_view url, const FetchOptions&) const override {
    absl::MutexLock lock(&mu_);
    ++counts_[std::string(url)];
    mu_.Await(absl::Condition(&open_));
    const auto answer = answers_.find(std::string(url));
    if (answer == answers_.end()) return Error(absl::StatusCode::kUnavailable, "ISSUER_UNAVAILABLE", "down");
    return answer->second;
  }
  void Answer(std::string_view url, std::string body) {
    absl::MutexLock lock(&mu_);
    answers_[std::string(url)] = std::move(body);
  }
  void GoDown() {
    absl::MutexLock lock(&mu_);
    answers_.clear();
  }
  void SetOpen(bool open) {
    absl::MutexLock lock(&mu_);
    open_ = open;
  }
  int Count(std::string_view url) const {
    absl::MutexLock lock(&mu_);
    return counts_[std::string(url)];
  }
  // Waits until a fetch of `url` has begun.
  void AwaitFetch(std::string_view url) const {
    absl::MutexLock lock(&mu_);
    const auto asked = [this, &url]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return counts_[std::string(url)] > 0; };
    mu_.Await(absl::Condition(&asked));
  }

 private:
  mutable absl::Mutex mu_;
  bool open_ ABSL_GUARDED_BY(mu_) = true;
  std::map<std::string, std::string> answers_ ABSL_GUARDED_BY(mu_);
  mutable std::map<std::string, int> counts_ ABSL_GUARDED_BY(mu_);
};

class IssuerKeysTest : public testing::Test {
 protected:
  IssuerKeysTest() {
    provider_.set_issuer(std::string(kIssuer));
    ServeDiscovery(kIssuer, kJwks);
    fetcher_.Answer(kJwks, old_.Jwks());
  }
  void ServeDiscovery(std::string_view issuer, std::string_view jwks) {
    fetcher_.Answer(kDiscovery, fmt::format(R"({{"issuer":"{}","jwks_uri":"{}"}})", issuer, jwks));
  }
  std::string Find(std::string_view kid, std::string_view algorithm = "ES256") {
    return ReasonOf(keys_->Find(kid, algorithm).status());
  }

  FakeClock clock_;
  FakeIssuer old_{"old"};
  FakeIssuer new_{"new"};
  ScriptedFetcher fetcher_;
  v1::IdentityProvider provider_;
  std::unique_ptr<IssuerKeys> keys_ = std::make_unique<IssuerKeys>(MakeSource(), fetcher_, clock_);

  static v1::IdentityProvider MakeSource() {
    v1::IdentityProvider source;
    source.set_issuer(std::string(kIssuer));
    return source;
  }
};

TEST_F(IssuerKeysTest, FetchesOnceAndKeeps) {
  EXPECT_EQ(Find("old"), "");
  clock_.Advance(IssuerKeys::kFresh - absl::Seconds(1));
  EXPECT_EQ(Find("old"), "");
  EXPECT_EQ(fetcher_.Count(kJwks), 1);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(Find("old"), "");
  EXPECT_EQ(fetcher_.Count(kJwks), 2);
}

TEST_F(IssuerKeysTest, ARotatedKeyIsFetchedWhenItIsFirstUsed) {
  EXPECT_EQ(Find("old"), "");
  fetcher_.Answer(kJwks, fmt::format(R"({{"keys":[{},{}]}})", old_.Jwk(), new_.Jwk()));
  clock_.Advance(IssuerKeys::kMinInterval);
  EXPECT_EQ(Find("new"), "");
  EXPECT_EQ(Find("old"), "");
  EXPECT_EQ(fetcher_.Count(kJwks), 2);
}

TEST_F(IssuerKeysTest, AWithdrawnKeyIsGoneAfterTheNextFetch) {
  EXPECT_EQ(Find("old"), "");
  fetcher_.Answer(kJwks, new_.Jwks());
  clock_.Advance(IssuerKeys::kFresh);
  EXPECT_EQ(Find("old"), "TOKEN_UNKNOWN_KEY");
}

TEST_F(IssuerKeysTest, MadeUpKeyIdsDoNotBecomeFetches) {
  EXPECT_EQ(Find("old"), "");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Find(fmt::format("made-up-{}", i)), "TOKEN_UNKNOWN_KEY");
  EXPECT_EQ(fetcher_.Count(kJwks), 1);
  clock_.Advance(IssuerKeys::kMinInterval);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Find("made-up"), "TOKEN_UNKNOWN_KEY");
  EXPECT_EQ(fetcher_.Count(kJwks), 2);
}

TEST_F(IssuerKeysTest, AnOldSetServesOnWhileTheIssuerIsDownButNotForEver) {
  EXPECT_EQ(Find("old"), "");
  fetcher_.GoDown();
  clock_.Advance(IssuerKeys::kStale - absl::Seconds(1));
  EXPECT_EQ(Find("old"), "");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(Find("old"), "ISSUER_UNAVAILABLE");
}

TEST_F(IssuerKeysTest, AnIssuerThatIsDownIsAskedRarely) {
  fetcher_.GoDown();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Find("old"), "ISSUER_UNAVAILABLE");
  EXPECT_EQ(fetcher_.Count(kDiscovery), 1);
  ServeDiscovery(kIssuer, kJwks);
  fetcher_.Answer(kJwks, old_.Jwks());
  clock_.Advance(IssuerKeys::kMinInterval);
  EXPECT_EQ(Find("old"), "");
}

TEST_F(IssuerKeysTest, ManyCallersShareOneFetch) {
  fetcher_.SetOpen(false);
  std::vector<std::thread> callers;
  std::vector<std::string> reasons(8, "unset");
  for (std::string& reason : reasons) callers.emplace_back([this, &reason] { reason = Find("old"); });
  fetcher_.AwaitFetch(kDiscovery);
  fetcher_.SetOpen(true);
  for (std::thread& caller : callers) caller.join();
  for (const std::string& reason : reasons) EXPECT_EQ(reason, "");
  EXPECT_EQ(fetcher_.Count(kJwks), 1);
}

TEST_F(IssuerKeysTest, AnotherIssuersConfigurationIsRefused) {
  ServeDiscovery("https://evil.example", kJwks);
  EXPECT_EQ(Find("old"), "ISSUER_UNAVAILABLE");
  EXPECT_EQ(fetcher_.Count(kJwks), 0);
}

TEST_F(IssuerKeysTest, WrongAnswersAreRefused) {
  for (const std::string_view body : {"", "[]", "{}", R"({"keys":{}})", R"({"keys":[]})", "<html>"}) {
    fetcher_.Answer(kJwks, std::string(body));
    clock_.Advance(IssuerKeys::kMinInterval);
    EXPECT_EQ(Find("old"), "ISSUER_UNAVAILABLE") << body;
  }
}

TEST_F(IssuerKeysTest, KeysForOtherUsesAreLeftAside) {
  const std::string jwk = old_.Jwk();
  const std::string encryption = fmt::format(R"({},"use":"enc"}})", jwk.substr(0, jwk.find(R"(,"use")")));
  EXPECT_FALSE(KeySet::Parse(fmt::format(R"({{"keys":[{}]}})", encryption)).ok());
  const std::string symmetric = R"({"kty":"oct","kid":"s","k":"c2VjcmV0"})";
  const auto set = KeySet::Parse(fmt::format(R"({{"keys":[{},{},7,{{}}]}})", symmetric, jwk));
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_TRUE((*set)->Find("old", "ES256").ok());
  EXPECT_FALSE((*set)->Find("s", "ES256").ok());
  for (const std::string_view algorithm : {"HS256", "RS256", "PS256", "ES384", "none", ""}) {
    EXPECT_FALSE((*set)->Find("old", algorithm).ok()) << algorithm;
  }
}

TEST_F(IssuerKeysTest, WithoutAKeyIdTheOnlyFittingKeyIsMeant) {
  EXPECT_TRUE((*KeySet::Parse(old_.Jwks()))->Find("", "ES256").ok());
  const auto two = *KeySet::Parse(fmt::format(R"({{"keys":[{},{}]}})", old_.Jwk(), new_.Jwk()));
  EXPECT_FALSE(two->Find("", "ES256").ok());
}

TEST_F(IssuerKeysTest, AFixedSetIsNeverFetched) {
  provider_.set_static_jwks(old_.Jwks());
  IssuerKeys fixed(provider_, fetcher_, clock_);
  clock_.Advance(absl::Hours(10'000));
  EXPECT_TRUE(fixed.Find("old", "ES256").ok());
  EXPECT_EQ(ReasonOf(fixed.Find("new", "ES256").status()), "TOKEN_UNKNOWN_KEY");
  EXPECT_EQ(fetcher_.Count(kDiscovery), 0);
}

TEST_F(IssuerKeysTest, ProvidersOfOneIssuerShareItsKeys) {
  IssuerKeysCache cache(fetcher_, clock_);
  v1::IdentityProvider other = provider_;
  other.set_name("other");
  other.add_audiences("x");
  EXPECT_EQ(cache.For(provider_), cache.For(other));
  other.set_ca_pem("another CA");
  EXPECT_NE(cache.For(provider_), cache.For(other));
}

}  // namespace
}  // namespace postern::identity
