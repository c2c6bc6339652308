// Random interleavings of request, vote, cancel, withdrawal, expiry, restart, revocation and execution against the real
// store, beside a model that knows nothing of how they are made. What must hold:
//   a statement runs only with an approval that enough distinct people gave in time and that is still good;
//   it runs once; it runs with the bytes that were approved; and what may run does.
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/timestamps.h"
#include "controlplane/approval/approvals.h"
#include "controlplane/store/approval_store.h"
#include "controlplane/store/grant_store.h"
#include "controlplane/store/standing_store.h"
#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tests/unit/controlplane/store/doubles.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::approval {
namespace {

constexpr std::string_view kSidecar = "sdc_00000000000000000000000001";
constexpr int kNeeded = 2;
constexpr absl::Duration kRequestTtl = absl::Seconds(600);
constexpr absl::Duration kUseWithin = absl::Seconds(60);

identity::Caller Approver(std::string id) {
  identity::Caller caller;
  caller.principal.set_id(std::move(id));
  caller.principal.set_kind(v1::PERSON);
  caller.principal.add_roles("approver");
  caller.principal.add_groups("approvers");
  return caller;
}

// The control plane's part that is under test, and what is around it.
class World {
 public:
  World() { Start(); }

  void Start() {
    approvals.reset();
    store = std::make_unique<store::SqlApprovalStore>(*db);
    standing = std::make_unique<store::SqlStandingStore>(*db);
    grants = std::make_unique<store::SqlGrantStore>(*db);
    approvals = std::make_unique<Approvals>(*store, *standing, *grants, hub, sink, clock, Random::System());
  }
  void Restart() {
    approvals.reset();
    db.Reopen();
    Start();
  }

  grant::Grant MakeGrant() {
    grant::Grant grant;
    grant.body.set_id(NewId(kGrantPrefix, clock.Now(), Random::System()));
    grant.body.set_agent("support-bot");
    grant.body.mutable_intent()->set_target("demo");
    grant.owner = "owner@example.com";
    grant.ttl_seconds = 24 * 3600;
    grant.request_id = NewUuid(Random::System());
    grant::Activate(grant, clock.Now());
    EXPECT_TRUE(grants->Insert(grant, nullptr).ok());
    return grant;
  }

  v1::StatementBinding Binding(const std::string& grant_id, int statement) const {
    v1::StatementBinding binding;
    binding.set_sql(fmt::format("delete from app.orders where id = $1 /* {} */", statement));
    binding.add_values()->set_value(std::to_string(statement));
    binding.set_target("demo");
    binding.set_database("shop");
    binding.set_role("app");
    binding.set_search_path("\"app\", \"public\"");
    binding.add_settings("TimeZone=UTC");
    binding.set_agent("support-bot");
    binding.set_grant_id(grant_id);
    binding.set_policy_revision(7);
    binding.add_parameter_types(23);
    return binding;
  }

  absl::StatusOr<v1::Approval> Ask(const v1::StatementBinding& binding, const std::string& session,
                                   std::string mode = "wait") {
    v1::RequestStatementApprovalRequest request;
    *request.mutable_binding() = binding;
    request.add_approver_groups("approvers");
    request.set_approvals_needed(kNeeded);
    request.set_request_ttl_seconds(absl::ToInt64Seconds(kRequestTtl));
    request.set_use_within_seconds(absl::ToInt64Seconds(kUseWithin));
    request.mutable_hold()->set_mode(std::move(mode));
    request.set_session_id(session);
    request.set_request_id(NewUuid(Random::System()));
    return approvals->RequestStatementApproval(kSidecar, request);
  }

  absl::Status Vote(const std::string& id, const std::string& person, bool approve) {
    v1::DecideApprovalRequest request;
    request.set_id(id);
    return approvals->Decide(Approver(person), request, approve).status();
  }

  absl::Status Claim(const std::string& id, const std::string& session, const std::string& digest) {
    v1::ClaimApprovalRequest request;
    request.set_id(id);
    request.set_session_id(session);
    request.set_binding_digest(digest);
    return approvals->Claim(kSidecar, request).status();
  }

  absl::Status Withdraw(const std::string& id, const std::string& session) {
    v1::WithdrawApprovalRequest request;
    request.set_id(id);
    request.set_session_id(session);
    return approvals->Withdraw(kSidecar, request).status();
  }

  store::TempStore db;
  FakeClock clock;
  RecordingHub hub;
  RecordingSink sink;
  std::unique_ptr<store::SqlApprovalStore> store;
  std::unique_ptr<store::SqlStandingStore> standing;
  std::unique_ptr<store::SqlGrantStore> grants;
  std::unique_ptr<Approvals> approvals;
};

// What is known of one request, by the rules as people know them.
struct Expected {
  std::string id = {};
  std::string grant = {};
  std::string digest = {};
  std::set<std::string> approved_by = {};
  std::set<std::string> waiters = {};
  bool denied = false;
  bool cancelled = false;
  bool used = false;
  absl::Time asked = {};
  absl::Time decided = absl::InfinitePast();  // when the quorum was complete

  bool Quorum() const { return approved_by.size() >= kNeeded; }
  bool Pending(absl::Time now) const {
    return !denied && !cancelled && !used && !Quorum() && now < asked + kRequestTtl;
  }
  bool Usable(absl::Time now) const { return !denied && !cancelled && !used && Quorum() && now < decided + kUseWithin; }
};

class Play {
 public:
  explicit Play(uint32_t seed) : random_(seed) {
    for (int i = 0; i < 2; ++i) grants_.push_back(world_.MakeGrant().id());
    for (int i = 0; i < 4; ++i) sessions_.push_back(NewId(kSessionPrefix, world_.clock.Now(), Random::System()));
  }

  void Step() {
    switch (Pick(12)) {
      case 0:
      case 1:
      case 2:
        return Ask();
      case 3:
      case 4:
      case 5:
        return Vote();
      case 6:
      case 7:
      case 8:
        return Execute();
      case 9:
        return Pick(2) == 0 ? Cancel() : Withdraw();
      case 10:
        world_.clock.Advance(absl::Seconds(Pick(45)));
        if (Pick(20) == 0) world_.clock.Advance(kRequestTtl);
        if (Pick(2) == 0) world_.approvals->ExpireDue();
        return;
      default:
        if (Pick(8) == 0) return Revoke();
        if (Pick(4) == 0) world_.Restart();
        return;
    }
  }

  int executed() const { return executed_; }
  int refused() const { return refused_; }

 private:
  int Pick(int below) { return static_cast<int>(random_() % static_cast<uint32_t>(below)); }
  absl::Time Now() { return world_.clock.Now(); }
  // One of the last few: what is old is mostly over.
  Expected* Any() {
    if (known_.empty()) return nullptr;
    const int recent = std::min<int>(4, static_cast<int>(known_.size()));
    return &known_[known_.size() - 1 - static_cast<size_t>(Pick(recent))];
  }
  const std::string& Session() { return sessions_[static_cast<size_t>(Pick(static_cast<int>(sessions_.size())))]; }
  bool Alive(const std::string& grant) const { return !revoked_.contains(grant); }

  void Ask() {
    const std::string& grant = grants_[static_cast<size_t>(Pick(2))];
    const v1::StatementBinding binding = world_.Binding(grant, Pick(3));
    const std::string& session = Session();
    const auto asked = world_.Ask(binding, session);
    if (!Alive(grant)) {
      EXPECT_EQ(ReasonOf(asked.status()), "GRANT_NOT_ACTIVE");
      return;
    }
    ASSERT_TRUE(asked.ok()) << asked.status();
    EXPECT_EQ(asked->binding_digest(), DigestOf(binding));
    for (Expected& known : known_) {
      if (known.id == asked->id()) {
        EXPECT_TRUE(known.Pending(Now())) << "only what is pending is joined";
        EXPECT_EQ(known.digest, asked->binding_digest());
        known.waiters.insert(session);
        return;
      }
      EXPECT_FALSE(known.Pending(Now()) && known.digest == asked->binding_digest()) << "repeats join the pending one";
    }
    known_.push_back(
        {.id = asked->id(), .grant = grant, .digest = asked->binding_digest(), .waiters = {session}, .asked = Now()});
  }

  void Vote() {
    Expected* one = Any();
    if (one == nullptr) return;
    static const std::vector<std::string> kPeople = {"ann@example.com", "bob@example.com", "cyd@example.com",
                                                     "owner@example.com", "ANN@example.com"};
    const std::string& person = kPeople[static_cast<size_t>(Pick(5))];
    const bool approve = Pick(10) != 0;
    const absl::Status voted = world_.Vote(one->id, person, approve);
    std::string name = person;
    if (name == "ANN@example.com") name = "ann@example.com";
    const bool may =
        name != "owner@example.com" && one->Pending(Now()) && (!approve || !one->approved_by.contains(name));
    EXPECT_EQ(voted.ok(), may) << voted << " " << person;
    if (!voted.ok()) return;
    if (!approve) {
      one->denied = true;
      return;
    }
    one->approved_by.insert(name);
    if (one->Quorum()) one->decided = Now();
  }

  void Execute() {
    Expected* one = Any();
    if (one == nullptr) return;
    // Mostly one that waits for it.
    const std::string session = Pick(3) == 0 || one->waiters.empty() ? Session() : *one->waiters.begin();
    std::string digest = one->digest;
    const bool mutated = Pick(4) == 0;
    if (mutated) digest[static_cast<size_t>(Pick(32))] ^= static_cast<char>(1 + Pick(255));
    const absl::Status claimed = world_.Claim(one->id, session, digest);
    const bool may = !mutated && one->Usable(Now()) && one->waiters.contains(session) && Alive(one->grant);
    EXPECT_EQ(claimed.ok(), may) << claimed;
    if (!claimed.ok()) {
      ++refused_;
      return;
    }
    EXPECT_FALSE(one->used) << "never twice";
    EXPECT_GE(one->approved_by.size(), kNeeded) << "never without enough people";
    one->used = true;
    ++executed_;
  }

  void Cancel() {
    Expected* one = Any();
    if (one == nullptr) return;
    identity::Caller agent;
    agent.principal.set_id("support-bot");
    agent.principal.set_kind(v1::AGENT);
    v1::CancelApprovalRequest request;
    request.set_id(one->id);
    const bool may = one->Pending(Now());
    EXPECT_EQ(world_.approvals->Cancel(agent, request).ok(), may);
    one->cancelled = one->cancelled || may;
  }

  void Withdraw() {
    Expected* one = Any();
    if (one == nullptr) return;
    const std::string& session = Session();
    const bool open = one->Pending(Now()) || one->Usable(Now());
    ASSERT_TRUE(world_.Withdraw(one->id, session).ok());
    if (!open || one->waiters.erase(session) == 0) return;
    if (one->waiters.empty()) one->cancelled = true;
  }

  void Revoke() {
    const std::string grant = grants_[static_cast<size_t>(Pick(2))];
    if (!Alive(grant)) return;
    auto stored = world_.grants->Get(grant);
    ASSERT_TRUE(stored.ok());
    grant::Revoke(*stored, "a test", Now());
    ASSERT_TRUE(world_.grants->Replace(*stored).ok());
    ASSERT_TRUE(world_.approvals->CancelForGrant(grant).ok());
    revoked_.insert(grant);
    for (Expected& one : known_) {
      if (one.grant == grant && (one.Pending(Now()) || one.Usable(Now()))) one.cancelled = true;
    }
    grants_[static_cast<size_t>(std::find(grants_.begin(), grants_.end(), grant) - grants_.begin())] =
        world_.MakeGrant().id();
  }

  World world_;
  std::mt19937 random_;
  std::vector<std::string> grants_;
  std::vector<std::string> sessions_;
  std::set<std::string> revoked_;
  std::vector<Expected> known_;
  int executed_ = 0;
  int refused_ = 0;
};

TEST(ApprovalModelTest, RandomInterleavingsNeverRunWhatWasNotApproved) {
  int executed = 0;
  int refused = 0;
  for (uint32_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(seed);
    Play play(seed);
    for (int step = 0; step < 200 && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE(step);
      play.Step();
    }
    executed += play.executed();
    refused += play.refused();
    if (testing::Test::HasFailure()) return;
  }
  // Both sides of the gate were tried.
  EXPECT_GT(executed, 20);
  EXPECT_GT(refused, 100);
}

// Changes one thing of a binding: never to what it was.
v1::StatementBinding Mutated(const v1::StatementBinding& binding, std::mt19937& random) {
  const auto pick = [&](size_t below) { return static_cast<size_t>(random()) % below; };
  const auto flip = [&](std::string* text) {
    if (text->empty() || pick(4) == 0) {
      text->insert(text->begin() + static_cast<std::ptrdiff_t>(pick(text->size() + 1)),
                   static_cast<char>(1 + pick(126)));
    } else if (pick(3) == 0) {
      text->erase(pick(text->size()), 1);
    } else {
      (*text)[pick(text->size())] ^= static_cast<char>(1 << pick(7));
    }
  };
  for (;;) {
    v1::StatementBinding other = binding;
    switch (pick(14)) {
      case 0:
      case 1:
      case 2:
        flip(other.mutable_sql());
        break;
      case 3:
        flip(other.mutable_values(0)->mutable_value());
        break;
      case 4:
        other.mutable_values(0)->set_format(1);
        break;
      case 5:
        other.mutable_values(0)->set_is_null(true);
        break;
      case 6:
        other.add_values()->set_value("1");
        break;
      case 7:
        other.set_search_path("\"public\", \"app\"");
        if (pick(2) == 0) flip(other.mutable_search_path());
        break;
      case 8:
        flip(other.mutable_settings(0));
        break;
      case 9:
        other.add_settings("IntervalStyle=iso_8601");
        break;
      case 10:
        flip(other.mutable_role());
        break;
      case 11:
        flip(other.mutable_database());
        break;
      case 12:
        other.set_policy_revision(binding.policy_revision() + 1 + static_cast<int64_t>(pick(1000)));
        break;
      default:
        other.set_parameter_types(0, static_cast<uint32_t>(pick(4000)));
        break;
    }
    if (other.SerializeAsString() != binding.SerializeAsString()) return other;
  }
}

TEST(ApprovalModelTest, OfTenThousandMutatedStatementsNoneRuns) {
  World world;
  std::mt19937 random(1);
  const std::string grant = world.MakeGrant().id();
  const std::string session = NewId(kSessionPrefix, world.clock.Now(), Random::System());
  const v1::StatementBinding binding = world.Binding(grant, 1);
  const auto asked = world.Ask(binding, session, "return");
  ASSERT_TRUE(asked.ok()) << asked.status();
  ASSERT_TRUE(world.Vote(asked->id(), "ann@example.com", true).ok());
  ASSERT_TRUE(world.Vote(asked->id(), "bob@example.com", true).ok());
  int ran = 0;
  for (int i = 0; i < 10'000; ++i) {
    const v1::StatementBinding other = Mutated(binding, random);
    // The sidecar claims by the digest of what it is about to forward.
    if (world.Claim(asked->id(), session, DigestOf(other)).ok()) ++ran;
    // Asking for it does not find the approval of the other one either. Each hundredth, as each makes a row.
    if (i % 100 != 0 || other.agent() != binding.agent() || other.target() != binding.target()) continue;
    const auto found = world.Ask(other, session, "return");
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_NE(found->id(), asked->id());
    EXPECT_EQ(found->state(), v1::APPROVAL_PENDING);
  }
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(world.Ask(binding, session, "return")->id(), asked->id());
  EXPECT_TRUE(world.Claim(asked->id(), session, DigestOf(binding)).ok()) << "the one that was approved runs";
  EXPECT_FALSE(world.Claim(asked->id(), session, DigestOf(binding)).ok()) << "once";
}

TEST(ApprovalModelTest, OfEverythingThatRacesExactlyOneOutcomeIsRecorded) {
  World world;
  const std::string grant = world.MakeGrant().id();
  const std::string session = NewId(kSessionPrefix, world.clock.Now(), Random::System());
  for (int round = 0; round < 30; ++round) {
    const auto asked = world.Ask(world.Binding(grant, 1000 + round), session);
    ASSERT_TRUE(asked.ok()) << asked.status();
    std::atomic<int> claims{0};
    std::atomic<int> denials{0};
    std::vector<std::thread> racers;
    for (const char* person : {"ann@example.com", "bob@example.com", "cyd@example.com"}) {
      racers.emplace_back([&, person] { world.Vote(asked->id(), person, true).IgnoreError(); });
    }
    racers.emplace_back([&] { denials += world.Vote(asked->id(), "dan@example.com", false).ok() ? 1 : 0; });
    for (int i = 0; i < 2; ++i) {
      racers.emplace_back([&] {
        for (int attempt = 0; attempt < 20; ++attempt) {
          claims += world.Claim(asked->id(), session, asked->binding_digest()).ok() ? 1 : 0;
        }
      });
    }
    racers.emplace_back([&] { world.Withdraw(asked->id(), session).IgnoreError(); });
    for (std::thread& racer : racers) racer.join();
    const v1::Approval end = world.store->Get(asked->id())->body();
    EXPECT_LE(claims.load(), 1);
    EXPECT_EQ(claims.load() == 1, end.state() == v1::APPROVAL_USED) << end.ShortDebugString();
    EXPECT_EQ(denials.load() == 1, end.state() == v1::APPROVAL_DENIED) << end.ShortDebugString();
    std::set<std::string> voters;
    for (const v1::Vote& vote : end.votes()) EXPECT_TRUE(voters.insert(vote.principal()).second);
  }
}

}  // namespace
}  // namespace postern::approval
