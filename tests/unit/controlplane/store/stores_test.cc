// What each store's interface promises, kept by the SQLite implementations.
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/timestamps.h"
#include "controlplane/store/key_store.h"
#include "controlplane/store/policy_store.h"
#include "controlplane/store/request_memory.h"
#include "controlplane/store/session_store.h"
#include "controlplane/store/target_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::store {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'750'000'000);

v1::PolicyRevision Revision(std::string digest) {
  v1::PolicyRevision revision;
  revision.set_digest(std::move(digest));
  revision.add_documents()->set_text("text");
  revision.mutable_set()->add_policies()->set_name("desk");
  *revision.mutable_create_time() = ToTimestamp(kNow);
  return revision;
}

TEST(PolicyStoreTest, BeforeTheFirstThereIsRevisionZeroWhichDeniesAll) {
  TempStore db;
  const SqlPolicyStore store(*db);
  EXPECT_EQ(store.Latest()->revision(), 0);
  EXPECT_EQ(store.Latest()->set().policies_size(), 0);
  EXPECT_EQ(ReasonOf(store.Get(1).status()), "POLICY_REVISION_NOT_FOUND");
}

TEST(PolicyStoreTest, RevisionsAreNumberedAndOneOfTwoRacersLoses) {
  TempStore db;
  SqlPolicyStore store(*db);
  EXPECT_EQ(store.Append(Revision("a"), 0)->revision(), 1);
  EXPECT_EQ(ReasonOf(store.Append(Revision("b"), 0).status()), "STALE_REVISION");
  EXPECT_EQ(store.Append(Revision("c"), 1)->set().revision(), 2);
  EXPECT_EQ(store.Latest()->digest(), "c");
  EXPECT_EQ(store.Get(1)->digest(), "a");
  const auto list = store.List(0, 10);
  ASSERT_THAT(*list, SizeIs(2));
  EXPECT_EQ(list->front().revision(), 2);
  EXPECT_EQ(list->front().documents_size(), 0) << "lists are without documents";
  EXPECT_THAT(*store.List(2, 10), SizeIs(1));
}

target::StoredTarget Target(std::string name) {
  target::StoredTarget target;
  target.target.set_name(std::move(name));
  target.sealed_password = std::string("\0sealed", 7);
  target.sealed_mask_key = "mask";
  return target;
}

TEST(TargetStoreTest, ATargetIsKeptReplacedAndDeleted) {
  TempStore db;
  SqlTargetStore store(*db);
  const auto stored = store.Insert(Target("demo"));
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(stored->target.etag(), "1");
  EXPECT_EQ(ReasonOf(store.Insert(Target("demo")).status()), "TARGET_EXISTS");
  EXPECT_EQ(store.Get("demo")->sealed_password, std::string("\0sealed", 7));

  target::StoredTarget next = *stored;
  next.target.set_host("db.example.com");
  EXPECT_EQ(store.Replace(next)->target.etag(), "2");
  EXPECT_EQ(ReasonOf(store.Replace(next).status()), "STALE_ETAG") << "the version seen is old by now";
  EXPECT_EQ(ReasonOf(store.Replace(Target("other")).status()), "TARGET_NOT_FOUND");

  ASSERT_TRUE(store.Delete("demo").ok());
  EXPECT_EQ(ReasonOf(store.Delete("demo")), "TARGET_NOT_FOUND");
  EXPECT_EQ(ReasonOf(store.Get("demo").status()), "TARGET_NOT_FOUND");
}

TEST(TargetStoreTest, TargetsAreListedByName) {
  TempStore db;
  SqlTargetStore store(*db);
  for (const char* name : {"c", "a", "b"}) ASSERT_TRUE(store.Insert(Target(name)).ok());
  EXPECT_THAT(*store.List("", 0), SizeIs(3));
  const auto page = store.List("a", 1);
  ASSERT_THAT(*page, SizeIs(1));
  EXPECT_EQ(page->front().target.name(), "b");
}

v1::Session Session(std::string sidecar, v1::SessionState state = v1::SESSION_LIVE) {
  v1::Session session;
  session.set_id(NewId(kSessionPrefix, kNow, Random::System()));
  session.set_state(state);
  session.set_agent("support-bot");
  session.set_target("demo");
  session.set_sidecar_id(std::move(sidecar));
  return session;
}

TEST(SessionStoreTest, AnEndedSessionStaysEnded) {
  TempStore db;
  SqlSessionStore store(*db);
  v1::Session session = Session("sdc_1");
  ASSERT_TRUE(store.Save(session).ok());
  session.set_state(v1::SESSION_ENDED);
  session.set_end_reason("client");
  ASSERT_TRUE(store.Save(session).ok());
  session.set_state(v1::SESSION_LIVE);
  ASSERT_TRUE(store.Save(session).ok()) << "a late report is no error";
  EXPECT_EQ(store.Get(session.id())->state(), v1::SESSION_ENDED);
  EXPECT_EQ(store.Get(session.id())->end_reason(), "client");
}

TEST(SessionStoreTest, ASidecarCannotSpeakOfAnothersSession) {
  TempStore db;
  SqlSessionStore store(*db);
  v1::Session session = Session("sdc_1");
  ASSERT_TRUE(store.Save(session).ok());
  session.set_sidecar_id("sdc_2");
  session.set_state(v1::SESSION_ENDED);
  EXPECT_EQ(ReasonOf(store.Save(session)), "SESSION_NOT_YOURS");
  EXPECT_EQ(store.Get(session.id())->state(), v1::SESSION_LIVE);
}

TEST(SessionStoreTest, WhatASidecarNoLongerKnowsIsLost) {
  TempStore db;
  SqlSessionStore store(*db);
  const v1::Session kept = Session("sdc_1");
  const v1::Session lost = Session("sdc_1");
  const v1::Session others = Session("sdc_2");
  for (const v1::Session& session : {kept, lost, others}) ASSERT_TRUE(store.Save(session).ok());
  const v1::Session fresh = Session("sdc_1");
  ASSERT_TRUE(store.ReplaceLive("sdc_1", {kept, fresh}, kNow).ok());
  EXPECT_EQ(store.Get(kept.id())->state(), v1::SESSION_LIVE);
  EXPECT_EQ(store.Get(fresh.id())->state(), v1::SESSION_LIVE);
  EXPECT_EQ(store.Get(others.id())->state(), v1::SESSION_LIVE);
  EXPECT_EQ(store.Get(lost.id())->state(), v1::SESSION_ENDED);
  EXPECT_EQ(store.Get(lost.id())->end_reason(), "lost");
  EXPECT_THAT(*store.List({.live_only = true}), SizeIs(3));
  EXPECT_THAT(*store.List({.agent = "other-bot"}), IsEmpty());
}

TEST(RequestMemoryTest, AnAnswerIsKeptForADayAndForItsCallerOnly) {
  TempStore db;
  SqlRequestMemory memory(*db);
  const server::RequestMemory::Key key{"people/ana", "TargetService/CreateTarget", "id-1"};
  EXPECT_FALSE(memory.Find(key, kNow)->has_value());
  ASSERT_TRUE(memory.Save(key, {.request_digest = "d", .response = std::string("\0r", 2)}, kNow).ok());
  db.Reopen();
  SqlRequestMemory again(*db);
  const auto found = again.Find(key, kNow + absl::Hours(24) - absl::Microseconds(1));
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->response, std::string("\0r", 2));
  EXPECT_FALSE(again.Find(key, kNow + absl::Hours(24))->has_value());
  EXPECT_FALSE(again.Find({"people/eve", key.method, key.request_id}, kNow)->has_value());
  EXPECT_TRUE(again.Save(key, {.request_digest = "e", .response = "s"}, kNow + absl::Hours(25)).ok())
      << "after a day the id is free again";
}

TEST(KeyStoreTest, TheFirstKeysAreInsertedOnceAndTogether) {
  TempStore db;
  SqlKeyStore store(*db);
  const server::ServiceKey token{"k1", "token", "PEM", "sealed", kNow};
  const server::ServiceKey audit{"k2", "audit", "PEM", "sealed", kNow};
  ASSERT_TRUE(store.InsertFirst({token}).ok());
  EXPECT_EQ(ReasonOf(store.InsertFirst({audit, token})), "ALREADY_INITIALISED");
  EXPECT_THAT(*store.List("audit"), IsEmpty()) << "all or none";
  ASSERT_THAT(*store.List("token"), SizeIs(1));
  EXPECT_EQ(store.List("token")->front().sealed_private, "sealed");
}

}  // namespace
}  // namespace postern::store
