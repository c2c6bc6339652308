#include "sidecar/session/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "sidecar/session/approval_board.h"

namespace postern::session {
namespace {

class RecordingControl : public SessionControl {
 public:
  void EndSoon(Ending ending) override { endings.push_back(ending.reason); }
  void CancelSoon() override { ++cancels; }
  void DrainSoon(Ending ending) override { endings.push_back("drain:" + ending.reason); }
  std::vector<std::string> endings;
  int cancels = 0;
};

v1::Session Session(const std::string& id, const std::string& agent, const std::string& grant) {
  v1::Session session;
  session.set_id(id);
  session.set_agent(agent);
  session.set_grant_id(grant);
  session.set_target("demo");
  return session;
}

TEST(Registry, CancelNeedsTheRightKeyOfALiveSession) {
  Registry registry({}, Random::System());
  auto control = std::make_shared<RecordingControl>();
  const auto key = registry.Add(Session("s1", "bot", "g1"), control);
  ASSERT_TRUE(key.ok());
  registry.Cancel(key->process_id, "nope");
  registry.Cancel(key->process_id + 1, key->secret);
  EXPECT_EQ(control->cancels, 0);
  registry.Cancel(key->process_id, key->secret);
  EXPECT_EQ(control->cancels, 1);
  registry.Remove("s1");
  registry.Cancel(key->process_id, key->secret);
  EXPECT_EQ(control->cancels, 1) << "its key died with the session";
}

TEST(Registry, RevocationReachesEverySessionOfTheGrantAndNoOther) {
  Registry registry({}, Random::System());
  auto a = std::make_shared<RecordingControl>(), b = std::make_shared<RecordingControl>(),
       c = std::make_shared<RecordingControl>();
  ASSERT_TRUE(registry.Add(Session("a", "bot", "g1"), a).ok());
  ASSERT_TRUE(registry.Add(Session("b", "bot", "g1"), b).ok());
  ASSERT_TRUE(registry.Add(Session("c", "bot", "g2"), c).ok());
  registry.EndGrant("g1", {.reason = "revoked"});
  EXPECT_THAT(a->endings, ::testing::ElementsAre("revoked"));
  EXPECT_THAT(b->endings, ::testing::ElementsAre("revoked"));
  EXPECT_THAT(c->endings, ::testing::IsEmpty());
}

TEST(Registry, LimitsAreNamedAndFreedAgain) {
  Registry registry({.sessions = 2, .sessions_per_agent = 1}, Random::System());
  auto control = std::make_shared<RecordingControl>();
  ASSERT_TRUE(registry.Add(Session("a", "one", "g"), control).ok());
  EXPECT_EQ(ReasonOf(registry.Add(Session("b", "one", "g"), control).status()), "TOO_MANY_SESSIONS_OF_AGENT");
  ASSERT_TRUE(registry.Add(Session("b", "two", "g"), control).ok());
  EXPECT_EQ(ReasonOf(registry.Add(Session("c", "three", "g"), control).status()), "TOO_MANY_SESSIONS");
  registry.Remove("a");
  EXPECT_TRUE(registry.Add(Session("c", "one", "g"), control).ok());
}

TEST(ApprovalBoard, NewsBeforeTheWatchIsNotLost) {
  ApprovalBoard board;
  v1::Approval approval;
  approval.set_id("apr_1");
  approval.set_state(v1::APPROVAL_APPROVED);
  board.Post(approval);
  std::vector<v1::ApprovalState> heard;
  const uint64_t watch = board.Watch("apr_1", [&](const v1::Approval& news) { heard.push_back(news.state()); });
  EXPECT_THAT(heard, ::testing::ElementsAre(v1::APPROVAL_APPROVED));
  board.Unwatch(watch);
  approval.set_state(v1::APPROVAL_USED);
  board.Post(approval);
  EXPECT_EQ(heard.size(), 1u);
}

}  // namespace
}  // namespace postern::session
