import org.apache.rocketmq.common.config.ConfigRocksDBStorage;
import org.rocksdb.CompressionType;
import org.rocksdb.FlushOptions;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;
import org.rocksdb.WriteBatch;

/** Databases as brokers of 5.5.0 keep their topics in: Make FOLDER logs|closed|tables|COMPRESSION. */
public class Make {
    public static void main(String[] args) throws Exception {
        String folder = args[0];
        RocksDB.loadLibrary();
        if (args[1].endsWith("_COMPRESSION")) {
            compressed(folder, CompressionType.valueOf(args[1]));
            return;
        }
        ConfigRocksDBStorage store = ConfigRocksDBStorage.getStore(folder, false);
        store.start();
        for (int i = 0; i < 1000; i++) {
            byte[] key = ("topic-" + i).getBytes();
            store.put("default", key, key.length, value(i, i % 8).getBytes());
        }
        store.flushWAL();
        if (args[1].equals("tables")) {
            store.flush(new FlushOptions().setWaitForFlush(true).setAllowWriteStall(true));
        }
        for (int i = 0; i < 1000; i += 3) {
            store.delete("default", ("topic-" + i).getBytes());
        }
        WriteBatch batch = new WriteBatch();
        for (int i = 1; i < 1000; i += 5) {
            store.writeBatchPutOperation("default", batch, ("topic-" + i).getBytes(), value(i, 77).getBytes());
        }
        store.batchPutWithWal(batch);
        byte[] key = "kvDataVersionKey".getBytes();
        store.put("kvDataVersion", key, key.length, "{}".getBytes());
        store.flushWAL();
        if (args[1].equals("closed")) {
            ConfigRocksDBStorage.shutdown(folder);
        } else {
            Runtime.getRuntime().halt(0);
        }
    }

    private static String value(int number, int queues) {
        return "{\"topicName\":\"topic-" + number + "\",\"readQueueNums\":" + queues + "}";
    }

    private static void compressed(String folder, CompressionType type) throws Exception {
        RocksDB database = RocksDB.open(new Options().setCreateIfMissing(true).setCompressionType(type), folder);
        for (int i = 0; i < 300; i++) {
            database.put(("topic-" + i).getBytes(), value(i, 8).repeat(3).getBytes());
        }
        database.flush(new FlushOptions().setWaitForFlush(true));
        database.close();
    }
}
