// AuditService over a real gRPC connection.
#include "controlplane/audit/audit_rpc.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server_builder.h>

#include "tests/unit/controlplane/audit/audit_fixture.h"

namespace postern::audit {
namespace {

// Admits those who say that they are auditors; the server's own gate has tests of its own.
class Gate : public fleet::CallGate {
 public:
  absl::StatusOr<identity::Caller> Admit(const grpc::ServerContextBase& context, std::string_view) override {
    if (context.client_metadata().count("auditor") > 0) return identity::Caller{};
    return Error(absl::StatusCode::kPermissionDenied, "NOT_ALLOWED", "you may not");
  }
  grpc::Status ToGrpc(const absl::Status& status) override {
    return {static_cast<grpc::StatusCode>(status.code()), ReasonOf(status)};
  }
};

class AuditRpcTest : public AuditFixture {
 protected:
  AuditRpcTest() : rpc_(gate_, *log_) {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&rpc_);
    server_ = builder.BuildAndStart();
    stub_ = v1::AuditService::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  }
  ~AuditRpcTest() override { server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5)); }

  static std::unique_ptr<grpc::ClientContext> Auditor() {
    auto context = std::make_unique<grpc::ClientContext>();
    context->AddMetadata("auditor", "yes");
    return context;
  }

  Gate gate_;
  AuditRpc rpc_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::AuditService::Stub> stub_;
};

TEST_F(AuditRpcTest, QueryAndCheckpointAnswer) {
  ASSERT_TRUE(log_->Record(Statement("select 1")).ok());
  v1::QueryAuditResponse page;
  ASSERT_TRUE(stub_->QueryAudit(Auditor().get(), {}, &page).ok());
  EXPECT_EQ(page.records_size(), 1);
  ASSERT_TRUE(log_->CheckpointNow().ok());
  v1::Checkpoint checkpoint;
  ASSERT_TRUE(stub_->GetCheckpoint(Auditor().get(), {}, &checkpoint).ok());
  EXPECT_EQ(checkpoint.tree_size(), 1);
}

TEST_F(AuditRpcTest, EveryCallAsksTheGate) {
  grpc::ClientContext c1, c2, c3, c4;
  v1::QueryAuditResponse page;
  v1::Checkpoint checkpoint;
  EXPECT_EQ(stub_->QueryAudit(&c1, {}, &page).error_message(), "NOT_ALLOWED");
  EXPECT_EQ(stub_->GetCheckpoint(&c2, {}, &checkpoint).error_message(), "NOT_ALLOWED");
  v1::ExportAuditResponse item;
  auto exported = stub_->ExportAudit(&c3, {});
  EXPECT_FALSE(exported->Read(&item));
  EXPECT_EQ(exported->Finish().error_message(), "NOT_ALLOWED");
  v1::LoggedRecord record;
  auto tail = stub_->TailAudit(&c4, {});
  EXPECT_FALSE(tail->Read(&record));
  EXPECT_EQ(tail->Finish().error_message(), "NOT_ALLOWED");
}

TEST_F(AuditRpcTest, AnExportOverTheWireVerifies) {
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 700)).status.ok());
  const auto context = Auditor();
  auto reader = stub_->ExportAudit(context.get(), {});
  ExportVerifier verifier({.trusted_keys = *log_->Keys(), .witnessed = {}});
  v1::ExportAuditResponse item;
  while (reader->Read(&item)) verifier.Add(item);
  ASSERT_TRUE(reader->Finish().ok());
  const VerifyReport report = verifier.Finish();
  EXPECT_TRUE(report.ok()) << report.finding->text;
  EXPECT_EQ(report.records, 700);
}

TEST_F(AuditRpcTest, ATailCatchesUpThenFollows) {
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 250)).status.ok());
  const auto context = Auditor();
  v1::TailAuditRequest request;
  request.set_after_leaf(9);
  auto reader = stub_->TailAudit(context.get(), request);
  v1::LoggedRecord record;
  for (int64_t leaf = 10; leaf < 250; ++leaf) {
    ASSERT_TRUE(reader->Read(&record));
    ASSERT_EQ(record.leaf_index(), leaf);
  }
  for (int64_t leaf = 250; leaf < 260; ++leaf) {
    ASSERT_TRUE(log_->Record(Statement("live")).ok());
    ASSERT_TRUE(reader->Read(&record));
    ASSERT_EQ(record.leaf_index(), leaf);
  }
  context->TryCancel();
  EXPECT_FALSE(reader->Read(&record));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(AuditRpcTest, ATailShowsWhatMatchesOnly) {
  const auto context = Auditor();
  v1::TailAuditRequest request;
  request.set_after_leaf(-1);
  request.mutable_filter()->set_text("wanted");
  ASSERT_TRUE(log_->Record(Statement("wanted, but before the tail")).ok());
  request.set_after_leaf(0);
  auto reader = stub_->TailAudit(context.get(), request);
  ASSERT_TRUE(log_->Record(Statement("other")).ok());
  ASSERT_TRUE(log_->Record(Statement("wanted")).ok());
  v1::LoggedRecord record;
  ASSERT_TRUE(reader->Read(&record));
  EXPECT_EQ(record.leaf_index(), 2);
  context->TryCancel();
}

TEST_F(AuditRpcTest, AnImpossibleStartIsRefused) {
  const auto context = Auditor();
  v1::TailAuditRequest request;
  request.set_after_leaf(-2);
  auto reader = stub_->TailAudit(context.get(), request);
  v1::LoggedRecord record;
  EXPECT_FALSE(reader->Read(&record));
  EXPECT_EQ(reader->Finish().error_message(), "INVALID_ARGUMENT");
}

}  // namespace
}  // namespace postern::audit
