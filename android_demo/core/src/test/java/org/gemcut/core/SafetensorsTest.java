package org.gemcut.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;
import static org.junit.Assert.fail;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.junit.Test;

public class SafetensorsTest {
    private static final String GOOD = "{\"__metadata__\":{\"by\":\"a test\"},"
            + "\"ids\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[0,12]},"
            + "\"rows\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[12,28]}}   ";

    private static byte[] file(String header, int numbers) {
        byte[] text = Hash.ascii(header);
        ByteBuffer out = ByteBuffer.allocate(8 + text.length + 4 * numbers).order(ByteOrder.LITTLE_ENDIAN);
        out.putLong(text.length).put(text);
        for (int i = 0; i < numbers; i++) {
            if (i < 3) {
                out.putInt(i - 1);
            } else {
                out.putFloat(i / 2f);
            }
        }
        return out.array();
    }

    private static void refused(byte[] data, String words) {
        try {
            new Safetensors(data, "x.safetensors");
        } catch (BundleException error) {
            assertEquals(BundleException.Kind.DAMAGED, error.kind());
            assertTrue(error.getMessage(), error.getMessage().contains(words));
            assertTrue(error.getMessage(), error.getMessage().contains("x.safetensors"));
            return;
        }
        fail("taken, though it should have said: " + words);
    }

    @Test
    public void sharesComeOneAfterTheOther() throws BundleException {
        Safetensors from = new Safetensors(file(GOOD, 7), "x.safetensors");
        assertArrayEquals(new int[] {-1, 0}, from.ints("ids", 2));
        assertArrayEquals(new int[] {1}, from.ints("ids", 1));
        assertArrayEquals(new float[][] {{1.5f, 2f}}, from.floatRows("rows", 1));
        try {
            from.done();
            fail("a row is left");
        } catch (BundleException error) {
            assertTrue(error.getMessage().contains("rows"));
        }
        from.floatRows("rows", 1);
        from.done();
        try {
            from.ints("ids", 1);
            fail("there is no more");
        } catch (BundleException error) {
            assertTrue(error.getMessage().contains("4 are wanted"));
        }
    }

    @Test
    public void everyTruncationIsRefused() {
        byte[] whole = file(GOOD, 7);
        for (int length = 0; length < whole.length; length++) {
            refused(Arrays.copyOf(whole, length), "");
        }
        refused(Arrays.copyOf(whole, whole.length + 4), "too many");
    }

    @Test
    public void whatIsNoTensorIsRefused() {
        byte[] huge = file(GOOD, 7);
        ByteBuffer.wrap(huge).order(ByteOrder.LITTLE_ENDIAN).putLong(0, Long.MAX_VALUE);
        refused(huge, "truncated or no safetensors");
        refused(file(GOOD.replace("I32", "BF16"), 7), "kind");
        refused(file(GOOD.replace("[3]", "[4]"), 7), "shape");
        refused(file(GOOD.replace("[3]", "[-3]"), 7), "shape");
        refused(file(GOOD.replace("[2,2]", "[65536,65536]"), 7), "shape");
        refused(file(GOOD.replace("[12,28]", "[8,24]"), 7), "hole or an overlap");
        refused(file(GOOD.replace("[12,28]", "[16,32]"), 8), "hole or an overlap");
        refused(file("[]", 0), "should be an object");
    }
}
