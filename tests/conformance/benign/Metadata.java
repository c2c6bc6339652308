// Everything that JDBC's DatabaseMetaData offers, as IDEs and report tools ask for it; printed, to be compared with a direct run.
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Properties;
import java.util.Set;

public class Metadata {
  // What tells who asks or where, so that it differs by nature.
  static final Set<String> PERSONAL = Set.of("getUserName", "getURL", "getConnection");

  static void print(String name, ResultSet rows) throws SQLException {
    int count = 0;
    final int columns = rows.getMetaData().getColumnCount();
    while (rows.next()) {
      final StringBuilder line = new StringBuilder(name);
      for (int i = 1; i <= columns; i++) line.append('\t').append(rows.getString(i));
      System.out.println(line);
      count++;
    }
    System.out.println(name + ": " + count + " rows");
    rows.close();
  }

  public static void main(String[] arguments) throws Exception {
    final Properties properties = new Properties();
    properties.setProperty("user", System.getenv("PGUSER"));
    properties.setProperty("password", System.getenv("PGPASSWORD"));
    properties.setProperty("sslmode", "verify-full");
    properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
    final String url =
        "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
    try (Connection connection = DriverManager.getConnection(url, properties)) {
      final DatabaseMetaData data = connection.getMetaData();
      final Method[] methods = DatabaseMetaData.class.getMethods();
      Arrays.sort(methods, Comparator.comparing(Method::toString));
      for (final Method method : methods) {
        if (method.getParameterCount() > 0 || PERSONAL.contains(method.getName())) continue;
        Object value;
        try {
          value = method.invoke(data);
        } catch (InvocationTargetException error) {
          value = error.getCause();
        }
        if (value instanceof ResultSet) print(method.getName(), (ResultSet) value);
        else System.out.println(method.getName() + "\t" + value);
      }
      print("getTables", data.getTables(null, null, "%", null));
      print("getColumns", data.getColumns(null, "app", "%", "%"));
      print("getProcedures", data.getProcedures(null, "app", "%"));
      print("getFunctions", data.getFunctions(null, "app", "%"));
      print("getFunctionColumns", data.getFunctionColumns(null, "app", "%", "%"));
      print("getSchemas", data.getSchemas(null, "a%"));
      print("getUDTs", data.getUDTs(null, "app", "%", null));
      for (final String table : new String[] {"customers", "orders", "order_items", "employees"}) {
        print("getPrimaryKeys", data.getPrimaryKeys(null, "app", table));
        print("getImportedKeys", data.getImportedKeys(null, "app", table));
        print("getExportedKeys", data.getExportedKeys(null, "app", table));
        print("getIndexInfo", data.getIndexInfo(null, "app", table, false, true));
        print("getTablePrivileges", data.getTablePrivileges(null, "app", table));
        print("getColumnPrivileges", data.getColumnPrivileges(null, "app", table, "%"));
        print("getBestRowIdentifier", data.getBestRowIdentifier(null, "app", table, DatabaseMetaData.bestRowSession, true));
        print("getVersionColumns", data.getVersionColumns(null, "app", table));
      }
      print("getCrossReference", data.getCrossReference(null, "app", "customers", null, "app", "orders"));
      // The prepared statement's own metadata, which the driver asks for by Describe and then by catalog queries.
      try (var statement = connection.prepareStatement("select o.id, c.name, c.city from app.orders o join app.customers c on c.id = o.customer_id where o.id < ?")) {
        final var columns = statement.getMetaData();
        for (int i = 1; i <= columns.getColumnCount(); i++) {
          System.out.println("column\t" + columns.getColumnName(i) + "\t" + columns.getColumnTypeName(i) + "\t" + columns.isNullable(i) + "\t" + columns.isAutoIncrement(i)
              + "\t" + columns.getTableName(i) + "\t" + columns.getSchemaName(i));
        }
        System.out.println("parameter\t" + statement.getParameterMetaData().getParameterTypeName(1));
      }
    }
  }
}
