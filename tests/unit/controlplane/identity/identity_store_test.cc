#include "controlplane/store/identity_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "tests/unit/controlplane/identity/fixture.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

v1::RoleBinding Binding(std::string_view group, std::string_view role) {
  v1::RoleBinding binding;
  binding.set_group(std::string(group));
  binding.set_role(std::string(role));
  return binding;
}

class IdentityStoreTest : public testing::Test {
 protected:
  FakeClock clock_;
  crypto::EcPrivateKey key_ = *crypto::EcPrivateKey::Generate();
  store::TempStore database_;
  store::SqlIdentityStore store_{*database_};
};

TEST_F(IdentityStoreTest, AccountsComeBackWithKeysAndEtag) {
  ASSERT_TRUE(store_.InsertAccount(MakeAccount("bot", v1::AGENT, key_, clock_)).ok());
  const v1::Account account = *store_.GetAccount("bot");
  EXPECT_EQ(account.kind(), v1::AGENT);
  EXPECT_EQ(account.keys(0).id(), key_.public_key().Thumbprint());
  EXPECT_EQ(account.etag(), "1");
  EXPECT_EQ(ReasonOf(store_.GetAccount("nobody").status()), "ACCOUNT_NOT_FOUND");
  EXPECT_EQ(ReasonOf(store_.InsertAccount(account).status()), "ACCOUNT_EXISTS");
}

TEST_F(IdentityStoreTest, OnlyTheSeenVersionIsReplaced) {
  v1::Account first = *store_.InsertAccount(MakeAccount("bot", v1::AGENT, key_, clock_));
  v1::Account second = first;
  first.set_owner("ann");
  EXPECT_EQ(store_.ReplaceAccount(first)->etag(), "2");
  second.set_owner("ben");
  EXPECT_EQ(ReasonOf(store_.ReplaceAccount(second).status()), "STALE_ETAG");
  EXPECT_EQ(store_.GetAccount("bot")->owner(), "ann");
  second.set_id("nobody");
  EXPECT_EQ(ReasonOf(store_.ReplaceAccount(second).status()), "ACCOUNT_NOT_FOUND");
}

TEST_F(IdentityStoreTest, AccountsListInOrderFromWhereTheLastPageEnded) {
  for (const std::string_view id : {"c", "a", "b"}) {
    ASSERT_TRUE(store_.InsertAccount(MakeAccount(id, v1::AGENT, key_, clock_)).ok());
  }
  const std::vector<v1::Account> page = *store_.ListAccounts("", 2);
  ASSERT_THAT(page, SizeIs(2));
  EXPECT_EQ(page[0].id(), "a");
  EXPECT_EQ(page[1].id(), "b");
  const std::vector<v1::Account> rest = *store_.ListAccounts("b", 2);
  ASSERT_THAT(rest, SizeIs(1));
  EXPECT_EQ(rest[0].id(), "c");
}

TEST_F(IdentityStoreTest, ProvidersAreFoundByExactIssuer) {
  const FakeIssuer issuer;
  ASSERT_TRUE(store_.InsertProvider(MakeProvider("two", v1::AGENT, issuer)).ok());
  ASSERT_TRUE(store_.InsertProvider(MakeProvider("one", v1::PERSON, issuer)).ok());
  EXPECT_EQ(ReasonOf(store_.InsertProvider(MakeProvider("one", v1::PERSON, issuer))), "PROVIDER_EXISTS");
  const std::vector<v1::IdentityProvider> found = *store_.ProvidersOf("https://issuer.example");
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[0].name(), "one");
  for (const std::string_view other : {"https://issuer.example/", "https://Issuer.example", "https://issuer", ""}) {
    EXPECT_THAT(*store_.ProvidersOf(other), IsEmpty()) << other;
  }
  EXPECT_TRUE(store_.DeleteProvider("one").ok());
  EXPECT_EQ(ReasonOf(store_.DeleteProvider("one")), "PROVIDER_NOT_FOUND");
  EXPECT_THAT(*store_.ListProviders("", 10), SizeIs(1));
}

TEST_F(IdentityStoreTest, RolesAreTheUnionOverGroups) {
  ASSERT_TRUE(store_.InsertRoleBinding(Binding("ops", "operator")).ok());
  ASSERT_TRUE(store_.InsertRoleBinding(Binding("ops", "auditor")).ok());
  ASSERT_TRUE(store_.InsertRoleBinding(Binding("leads", "approver")).ok());
  ASSERT_TRUE(store_.InsertRoleBinding(Binding("leads", "approver")).ok());  // Twice is once.
  EXPECT_THAT(*store_.RolesOf({"ops", "leads", "nobody"}), ElementsAre("approver", "auditor", "operator"));
  EXPECT_THAT(*store_.RolesOf({"op"}), IsEmpty());
  EXPECT_THAT(*store_.RolesOf({}), IsEmpty());
  EXPECT_TRUE(store_.DeleteRoleBinding(Binding("ops", "auditor")).ok());
  EXPECT_EQ(ReasonOf(store_.DeleteRoleBinding(Binding("ops", "auditor"))), "ROLE_BINDING_NOT_FOUND");
  EXPECT_THAT(*store_.RolesOf({"ops"}), ElementsAre("operator"));
}

TEST_F(IdentityStoreTest, EverythingSurvivesARestart) {
  ASSERT_TRUE(store_.InsertAccount(MakeAccount("bot", v1::AGENT, key_, clock_)).ok());
  ASSERT_TRUE(store_.InsertRoleBinding(Binding("ops", "operator")).ok());
  database_.Reopen();
  store::SqlIdentityStore again(*database_);
  EXPECT_TRUE(again.GetAccount("bot").ok());
  EXPECT_THAT(*again.RolesOf({"ops"}), ElementsAre("operator"));
}

TEST_F(IdentityStoreTest, AFailingDiskIsSaid) {
  database_.FailNext(absl::UnavailableError("disk full"));
  EXPECT_EQ(store_.InsertAccount(MakeAccount("bot", v1::AGENT, key_, clock_)).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(store_.GetAccount("bot").status()), "ACCOUNT_NOT_FOUND");
}

}  // namespace
}  // namespace postern::identity
