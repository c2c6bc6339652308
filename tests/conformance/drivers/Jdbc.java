// The PostgreSQL JDBC driver; run as a source file.
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;
import org.postgresql.PGConnection;

public class Jdbc {
  interface Step { String run() throws Exception; }
  interface Work { void run() throws SQLException; }

  static Connection connection;
  static final Map<String, String> results = new LinkedHashMap<>();

  static void step(String name, Step step) {
    String result;
    try {
      result = step.run();
    } catch (Exception | AssertionError error) {
      error.printStackTrace();
      result = String.valueOf(error);
    }
    results.put(name, result);
  }

  static void check(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }
  static void masked(String value) { check(value.startsWith("***@"), "not masked: " + value); }
  static void fails(String state, Work work) {
    try {
      work.run();
    } catch (SQLException error) {
      check(state.equals(error.getSQLState()), error.toString());
      return;
    }
    throw new AssertionError("no error");
  }
  static void execute(String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) { statement.execute(sql); }
  }
  static String one(String sql) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getString(1);
    }
  }

  public static void main(String[] arguments) throws Exception {
    Properties properties = new Properties();
    properties.setProperty("user", System.getenv("PGUSER"));
    properties.setProperty("password", System.getenv("PGPASSWORD"));
    properties.setProperty("sslmode", "verify-full");
    properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
    connection = DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
        + System.getenv("PGDATABASE"), properties);

    step("tls", () -> "ok");
    step("prepared", () -> {
      // From the fifth execution on the driver names the statement and asks for binary values.
      try (PreparedStatement statement = connection.prepareStatement("select id, email from app.customers where id = ?")) {
        for (int n = 1; n <= 10; ++n) {
          statement.setInt(1, n);
          ResultSet rows = statement.executeQuery();
          rows.next();
          check(rows.getInt(1) == n, "row");
          masked(rows.getString(2));
        }
      }
      return "ok";
    });
    step("batch", () -> {
      try (PreparedStatement statement = connection.prepareStatement("insert into app.support_tickets (customer_id, subject) values (?, ?)")) {
        for (int n = 0; n < 500; ++n) {
          statement.setInt(1, 1);
          statement.setString(2, "batch " + n);
          statement.addBatch();
        }
        check(statement.executeBatch().length == 500, "batch");
      }
      execute("select 1; select 2");
      return "ok";
    });
    step("copy", () -> {
      StringBuilder lines = new StringBuilder();
      for (int n = 0; n < 1000; ++n) lines.append("1\tcopied ").append(n).append('\n');
      var copy = connection.unwrap(PGConnection.class).getCopyAPI();
      check(copy.copyIn("copy app.support_tickets (customer_id, subject) from stdin", new StringReader(lines.toString())) == 1000, "copy in");
      StringWriter out = new StringWriter();
      copy.copyOut("copy (select email from app.customers where id = 7) to stdout", out);
      masked(out.toString());
      return "ok";
    });
    step("cancel", () -> {
      try (Statement statement = connection.createStatement()) {
        new Timer(true).schedule(new TimerTask() {
          public void run() {
            try {
              statement.cancel();
            } catch (SQLException error) {
              error.printStackTrace();
            }
          }
        }, 500);
        fails("57014", () -> statement.executeQuery("select count(*) from generate_series(1, 100000000000)"));
      }
      check("1".equals(one("select 1")), "goes on");
      return "ok";
    });
    step("cursor", () -> {
      connection.setAutoCommit(false);
      try (PreparedStatement statement = connection.prepareStatement("select id, email from app.customers order by id")) {
        statement.setFetchSize(5);
        ResultSet rows = statement.executeQuery();
        for (int n = 1; n <= 12; ++n) {
          rows.next();
          check(rows.getInt(1) == n, "row");
          masked(rows.getString(2));
        }
      } finally {
        connection.rollback();
        connection.setAutoCommit(true);
      }
      return "ok";
    });
    step("error", () -> {
      connection.setAutoCommit(false);
      try {
        fails("22012", () -> one("select 1 / 0"));
        fails("25P02", () -> one("select 1"));
      } finally {
        connection.rollback();
        connection.setAutoCommit(true);
      }
      check("1".equals(one("select 1")), "goes on");
      return "ok";
    });
    step("masked", () -> {
      masked(one("select email from app.customers where id = 7"));
      return "ok";
    });
    step("held", () -> {
      String id = one("insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id");
      try (PreparedStatement statement = connection.prepareStatement("delete from app.support_tickets where id = ?")) {
        statement.setInt(1, Integer.parseInt(id));
        check(statement.executeUpdate() == 1, "rows");
      }
      return "ok";
    });
    step("denied", () -> {
      fails("42501", () -> execute("grant all on app.orders to public"));
      check("1".equals(one("select 1")), "goes on");
      return "ok";
    });
    connection.close();

    StringBuilder json = new StringBuilder("{");
    results.forEach((name, result) -> json.append(json.length() > 1 ? "," : "").append('"').append(name).append("\":\"")
        .append(result.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ")).append('"'));
    System.out.println(json.append('}'));
  }
}
