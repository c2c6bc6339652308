#include "sidecar/session/answers.h"

#include <gtest/gtest.h>

namespace postern::session {
namespace {

using Kind = Expected::Kind;

Expected Make(Kind kind) {
  Expected expected;
  expected.kind = kind;
  return expected;
}

TEST(AnswerQueue, ErrorSkipsToTheNextSyncAndNoFurther) {
  AnswerQueue queue;
  for (const Kind kind : {Kind::kBind, Kind::kExecute, Kind::kSync, Kind::kParse, Kind::kSync}) queue.Push(Make(kind));
  const auto dropped = queue.Fail();
  ASSERT_EQ(dropped.size(), 2u);
  EXPECT_EQ(dropped[0].kind, Kind::kBind);
  EXPECT_EQ(dropped[1].kind, Kind::kExecute);
  ASSERT_EQ(queue.size(), 3u);
  EXPECT_EQ(queue.front().kind, Kind::kSync);
}

TEST(AnswerQueue, ErrorWithoutASyncDropsEverything) {
  AnswerQueue queue;
  queue.Push(Make(Kind::kParse));
  queue.Push(Make(Kind::kExecute));
  EXPECT_EQ(queue.Fail().size(), 2u);
  EXPECT_TRUE(queue.empty());
}

TEST(AnswerQueue, AFailedQueryOrSyncStillOwesReadyForQuery) {
  for (const Kind kind : {Kind::kQuery, Kind::kSync, Kind::kFunctionCall}) {
    AnswerQueue queue;
    queue.Push(Make(kind));
    EXPECT_TRUE(queue.Fail().empty());
    EXPECT_EQ(queue.size(), 1u);
  }
}

TEST(AnswerQueue, OnlyASyncUnderWayIsNothingToCancel) {
  AnswerQueue queue;
  EXPECT_FALSE(queue.Executing());
  queue.Push(Make(Kind::kSync));
  EXPECT_FALSE(queue.Executing());
  queue.Push(Make(Kind::kExecute));
  EXPECT_TRUE(queue.Executing());
}

}  // namespace
}  // namespace postern::session
