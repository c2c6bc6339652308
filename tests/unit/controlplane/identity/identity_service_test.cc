#include "controlplane/identity/identity_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "tests/unit/controlplane/identity/fixture.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class IdentityServiceTest : public testing::Test {
 protected:
  IdentityServiceTest() {
    caller_.principal.set_id("ann");
    caller_.principal.set_kind(v1::PERSON);
  }

  absl::Status Create(const v1::Account& account, v1::Account* response) {
    v1::CreateAccountRequest request;
    *request.mutable_account() = account;
    return CreateAccount(deps_, caller_, request, response);
  }
  absl::Status Create(const v1::Account& account) {
    v1::Account response;
    return Create(account, &response);
  }
  absl::Status Update(const v1::Account& account) {
    v1::UpdateAccountRequest request;
    *request.mutable_account() = account;
    v1::Account response;
    return UpdateAccount(deps_, caller_, request, &response);
  }
  absl::Status CreateProvider(const v1::IdentityProvider& provider) {
    v1::CreateIdentityProviderRequest request;
    *request.mutable_provider() = provider;
    v1::IdentityProvider response;
    return CreateIdentityProvider(deps_, caller_, request, &response);
  }
  absl::Status Bind(std::string_view group, std::string_view role) {
    v1::CreateRoleBindingRequest request;
    request.mutable_binding()->set_group(std::string(group));
    request.mutable_binding()->set_role(std::string(role));
    v1::RoleBinding response;
    return CreateRoleBinding(deps_, caller_, request, &response);
  }
  absl::Status Unbind(std::string_view group, std::string_view role) {
    v1::DeleteRoleBindingRequest request;
    request.mutable_binding()->set_group(std::string(group));
    request.mutable_binding()->set_role(std::string(role));
    v1::DeleteRoleBindingResponse response;
    return DeleteRoleBinding(deps_, caller_, request, &response);
  }

  FakeClock clock_;
  crypto::EcPrivateKey key_ = *crypto::EcPrivateKey::Generate();
  store::TempStore database_;
  store::SqlIdentityStore store_{*database_};
  FakeAudit audit_;
  std::vector<std::string> revoked_;
  absl::Status revoke_status_;
  Caller caller_;
  IdentityDeps deps_{store_, audit_, clock_, [this](std::string_view agent, std::string_view) {
                       revoked_.emplace_back(agent);
                       return revoke_status_;
                     }};
};

TEST_F(IdentityServiceTest, ACreatedAccountIsCompletedAndRecorded) {
  v1::Account account;
  v1::Account asked = MakeAccount("support-bot", v1::AGENT, key_, clock_);
  asked.mutable_keys(0)->set_id("chosen by the caller");
  ASSERT_TRUE(Create(asked, &account).ok());
  EXPECT_EQ(account.keys(0).id(), key_.public_key().Thumbprint());
  EXPECT_EQ(FromTimestamp(account.create_time()), clock_.Now());
  EXPECT_EQ(account.etag(), "1");
  ASSERT_THAT(audit_.records(), SizeIs(1));
  EXPECT_EQ(audit_.records()[0].action(), "account");
  EXPECT_EQ(audit_.records()[0].detail().at("change"), "create");
  EXPECT_EQ(audit_.records()[0].object(), "support-bot");
  EXPECT_EQ(audit_.records()[0].detail().at("by"), "ann");
  EXPECT_EQ(ReasonOf(Create(asked)), "ACCOUNT_EXISTS");
}

TEST_F(IdentityServiceTest, WhatCannotBeRecordedIsNotDone) {
  audit_.FailNext(absl::UnavailableError("disk full"));
  EXPECT_EQ(Create(MakeAccount("bot", v1::AGENT, key_, clock_)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(store_.GetAccount("bot").status()), "ACCOUNT_NOT_FOUND");
}

TEST_F(IdentityServiceTest, BadAccountsAreRefused) {
  const v1::Account good = MakeAccount("bot", v1::AGENT, key_, clock_);
  const struct {
    std::string_view what;
    std::function<void(v1::Account&)> spoil;
    std::string_view reason;
  } kCases[] = {
      {"no id", [](v1::Account& a) { a.clear_id(); }, "ACCOUNT_INVALID"},
      {"upper case", [](v1::Account& a) { a.set_id("Bot"); }, "ACCOUNT_INVALID"},
      {"slash", [](v1::Account& a) { a.set_id("a/b"); }, "ACCOUNT_INVALID"},
      {"long", [](v1::Account& a) { a.set_id(std::string(64, 'a')); }, "ACCOUNT_INVALID"},
      {"no kind", [](v1::Account& a) { a.clear_kind(); }, "ACCOUNT_INVALID"},
      {"sidecar", [](v1::Account& a) { a.set_kind(v1::SIDECAR); }, "ACCOUNT_INVALID"},
      {"group with a space", [](v1::Account& a) { a.add_groups("a b"); }, "ACCOUNT_INVALID"},
      {"a person's owner", [](v1::Account& a) { a.set_kind(v1::PERSON), a.set_owner("x"); }, "ACCOUNT_INVALID"},
      {"no expiry", [](v1::Account& a) { a.mutable_keys(0)->clear_expire_time(); }, "KEY_EXPIRY"},
      {"expired", [this](v1::Account& a) { *a.mutable_keys(0)->mutable_expire_time() = ToTimestamp(clock_.Now()); },
       "KEY_EXPIRY"},
      {"for too long",
       [this](v1::Account& a) {
         *a.mutable_keys(0)->mutable_expire_time() = ToTimestamp(clock_.Now() + absl::Hours(24 * 400 + 1));
       },
       "KEY_EXPIRY"},
      {"private key",
       [this](v1::Account& a) { a.mutable_keys(0)->set_public_key_pem(std::string(key_.ToPem().Expose())); },
       "KEY_MALFORMED"},
  };
  for (const auto& each : kCases) {
    v1::Account account = good;
    each.spoil(account);
    EXPECT_EQ(ReasonOf(Create(account)), each.reason) << each.what;
  }
  EXPECT_THAT(audit_.records(), IsEmpty());
}

TEST_F(IdentityServiceTest, DisablingAnAgentRevokesItsGrantsEachTime) {
  ASSERT_TRUE(Create(MakeAccount("bot", v1::AGENT, key_, clock_)).ok());
  v1::Account change;
  change.set_id("bot");
  change.set_disabled(true);
  revoke_status_ = absl::UnavailableError("store down");
  EXPECT_EQ(Update(change).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(store_.GetAccount("bot")->disabled());
  revoke_status_ = absl::OkStatus();
  EXPECT_TRUE(Update(change).ok());
  EXPECT_THAT(revoked_, ElementsAre("bot", "bot"));
}

TEST_F(IdentityServiceTest, UpdateReplacesButKeepsKeysAndKind) {
  ASSERT_TRUE(Create(MakeAccount("bot", v1::AGENT, key_, clock_)).ok());
  v1::Account change;
  change.set_id("bot");
  change.set_etag("1");
  change.add_groups("agents");
  change.set_owner("ann");
  ASSERT_TRUE(Update(change).ok());
  const v1::Account after = *store_.GetAccount("bot");
  EXPECT_THAT(after.groups(), ElementsAre("agents"));
  EXPECT_THAT(after.keys(), SizeIs(1));
  EXPECT_EQ(ReasonOf(Update(change)), "STALE_ETAG");
  change.clear_etag();
  change.set_kind(v1::PERSON);
  EXPECT_EQ(ReasonOf(Update(change)), "ACCOUNT_INVALID");
}

TEST_F(IdentityServiceTest, NobodyDisablesTheirOwnAccount) {
  ASSERT_TRUE(Create(MakeAccount("ann", v1::PERSON, key_, clock_)).ok());
  v1::Account change;
  change.set_id("ann");
  change.set_disabled(true);
  EXPECT_EQ(ReasonOf(Update(change)), "SELF_DISABLE");
}

TEST_F(IdentityServiceTest, KeysComeAndGo) {
  ASSERT_TRUE(Create(MakeAccount("bot", v1::AGENT, key_, clock_)).ok());
  const crypto::EcPrivateKey next = *crypto::EcPrivateKey::Generate();
  v1::AddAccountKeyRequest add;
  add.set_account_id("bot");
  *add.mutable_key() = MakeAccount("x", v1::AGENT, next, clock_).keys(0);
  v1::Account account;
  ASSERT_TRUE(AddAccountKey(deps_, caller_, add, &account).ok());
  EXPECT_THAT(account.keys(), SizeIs(2));
  EXPECT_EQ(ReasonOf(AddAccountKey(deps_, caller_, add, &account)), "KEY_EXISTS");
  v1::RemoveAccountKeyRequest remove;
  remove.set_account_id("bot");
  remove.set_key_id(key_.public_key().Thumbprint());
  ASSERT_TRUE(RemoveAccountKey(deps_, caller_, remove, &account).ok());
  ASSERT_THAT(account.keys(), SizeIs(1));
  EXPECT_EQ(account.keys(0).id(), next.public_key().Thumbprint());
  EXPECT_EQ(ReasonOf(RemoveAccountKey(deps_, caller_, remove, &account)), "KEY_NOT_FOUND");
}

TEST_F(IdentityServiceTest, ListsComeInPages) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Create(MakeAccount(fmt::format("bot-{}", i), v1::AGENT, key_, clock_)).ok());
  }
  std::vector<std::string> seen;
  v1::ListAccountsRequest request;
  request.set_page_size(2);
  int pages = 0;
  do {
    v1::ListAccountsResponse response;
    ASSERT_TRUE(ListAccounts(deps_, request, &response).ok());
    for (const v1::Account& account : response.accounts()) seen.push_back(account.id());
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 3);
  EXPECT_THAT(seen, ElementsAre("bot-0", "bot-1", "bot-2", "bot-3", "bot-4"));
  v1::ListAccountsResponse response;
  request.set_page_token("not one of ours!");
  EXPECT_EQ(ReasonOf(ListAccounts(deps_, request, &response)), "PAGE_INVALID");
  request.clear_page_token();
  request.set_page_size(-1);
  EXPECT_EQ(ReasonOf(ListAccounts(deps_, request, &response)), "PAGE_INVALID");
}

TEST_F(IdentityServiceTest, BadProvidersAreRefused) {
  const FakeIssuer issuer;
  const v1::IdentityProvider good = MakeProvider("corp", v1::PERSON, issuer);
  const struct {
    std::string_view what;
    std::function<void(v1::IdentityProvider&)> spoil;
    std::string_view reason;
  } kCases[] = {
      {"name", [](auto& p) { p.set_name("Corp"); }, "PROVIDER_INVALID"},
      {"no issuer", [](auto& p) { p.clear_issuer(); }, "PROVIDER_INVALID"},
      {"no audience", [](auto& p) { p.clear_audiences(); }, "PROVIDER_INVALID"},
      {"empty audience", [](auto& p) { p.add_audiences(""); }, "PROVIDER_INVALID"},
      {"no kind", [](auto& p) { p.clear_kind(); }, "PROVIDER_INVALID"},
      {"sidecar", [](auto& p) { p.set_kind(v1::SIDECAR); }, "PROVIDER_INVALID"},
      {"HS256", [](auto& p) { p.add_algorithms("HS256"); }, "PROVIDER_INVALID"},
      {"none", [](auto& p) { p.add_algorithms("none"); }, "PROVIDER_INVALID"},
      {"EdDSA", [](auto& p) { p.add_algorithms("EdDSA"); }, "PROVIDER_INVALID"},
      {"a person's agent_id", [](auto& p) { p.set_agent_id("bot"); }, "PROVIDER_INVALID"},
      {"broken keys", [](auto& p) { p.set_static_jwks("{}"); }, "JWKS_MALFORMED"},
      {"http", [](auto& p) { p.clear_static_jwks(), p.set_issuer("http://issuer.example"); }, "ISSUER_URL"},
      {"loopback http, not allowed", [](auto& p) { p.clear_static_jwks(), p.set_issuer("http://127.0.0.1:9"); },
       "ISSUER_URL"},
      {"http elsewhere, allowed on loopback",
       [](auto& p) {
         p.clear_static_jwks();
         p.set_issuer("http://127.0.0.1.evil.example");
         p.set_allow_loopback_http(true);
       },
       "ISSUER_URL"},
      {"broken CA", [](auto& p) { p.clear_static_jwks(), p.set_ca_pem("x"); }, "CERTIFICATE_MALFORMED"},
  };
  for (const auto& each : kCases) {
    v1::IdentityProvider provider = good;
    each.spoil(provider);
    EXPECT_EQ(ReasonOf(CreateProvider(provider)), each.reason) << each.what;
  }
  EXPECT_TRUE(CreateProvider(good).ok());
  EXPECT_EQ(ReasonOf(CreateProvider(good)), "PROVIDER_EXISTS");
}

TEST_F(IdentityServiceTest, OnlyKnownRolesAreBound) {
  EXPECT_TRUE(Bind("leads", "approver").ok());
  EXPECT_EQ(ReasonOf(Bind("leads", "superuser")), "ROLE_UNKNOWN");
  EXPECT_EQ(ReasonOf(Bind("", "approver")), "ROLE_BINDING_INVALID");
  EXPECT_EQ(ReasonOf(Bind("a\nb", "approver")), "ROLE_BINDING_INVALID");
}

TEST_F(IdentityServiceTest, RoleBindingsComeInPages) {
  for (const std::string_view role : {"auditor", "operator", "approver"}) ASSERT_TRUE(Bind("ops", role).ok());
  v1::ListRoleBindingsRequest request;
  request.set_page_size(2);
  v1::ListRoleBindingsResponse first;
  ASSERT_TRUE(ListRoleBindings(deps_, request, &first).ok());
  EXPECT_THAT(first.bindings(), SizeIs(2));
  request.set_page_token(first.next_page_token());
  v1::ListRoleBindingsResponse second;
  ASSERT_TRUE(ListRoleBindings(deps_, request, &second).ok());
  ASSERT_THAT(second.bindings(), SizeIs(1));
  EXPECT_EQ(second.bindings(0).role(), "operator");
  EXPECT_EQ(second.next_page_token(), "");
}

TEST_F(IdentityServiceTest, TheLastAdminBindingStays) {
  ASSERT_TRUE(Bind("admins", "admin").ok());
  EXPECT_EQ(ReasonOf(Unbind("admins", "admin")), "LAST_ADMIN");
  ASSERT_TRUE(Bind("more-admins", "admin").ok());
  EXPECT_TRUE(Unbind("admins", "admin").ok());
}

TEST_F(IdentityServiceTest, TheFirstAdministratorIsMadeOnce) {
  ASSERT_TRUE(BootstrapAdmin(deps_, MakeAccount("ann", v1::AGENT, key_, clock_)).ok());
  const v1::Account account = *store_.GetAccount("ann");
  EXPECT_EQ(account.kind(), v1::PERSON);
  EXPECT_THAT(*store_.RolesOf({account.groups().begin(), account.groups().end()}), ElementsAre("admin"));
  EXPECT_EQ(ReasonOf(BootstrapAdmin(deps_, MakeAccount("eve", v1::PERSON, key_, clock_))), "BOOTSTRAPPED");
}

}  // namespace
}  // namespace postern::identity
