package org.gemcut.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;
import static org.junit.Assert.fail;

import java.util.Collections;
import org.junit.Test;

/** A template in the manner of Gemma 4, and one that writes plain JSON. */
public class ToolCallsTest {
    private static final String ANY = "{'write':'any','string':STRING,"
            + "'number':{'write':'number','open':'','close':''},'true':'true',"
            + "'false':'false','null':'null','list':{'write':'list','open':'[','between':',','close':']','empty':null,"
            + "'item':{'write':'ref','name':'value'}},'map':MAP}";
    private static final String MAP = "{'write':'map','open':'{','between':',','close':'}','empty':null,'colon':':',"
            + "'sort':'none','skip_null':false,'key':KEY,'value':{'write':'ref','name':'value'},'by_key':{},"
            + "'refuses':[]}";
    private static final String RECORD = "{'write':'record','open':'OPEN','between':'','close':'CLOSE','refuses':[],"
            + "'others':'ignore','fields':["
            + "{'key':'name','before':'BEFORE','after':'AFTER','when':'required','joined':true,'writer':NAME},"
            + "{'key':'MEMBER','before':'','after':'','when':'required','joined':true,"
            + "'writer':{'write':'ref','name':'map'}}]}";

    private static String text(String open, String escape) {
        return "{'write':'string','open':'" + open + "','close':'" + open + "','escape':'" + escape
                + "','trim':'none','upper':false}";
    }

    private static Prompt prompt(String quote, String key, String escape, String open, String before, String after,
            String close) throws BundleException {
        String map = MAP.replace("KEY", text(key, key.isEmpty() ? "none" : escape));
        String any = ANY.replace("STRING", text(quote, escape)).replace("MAP", "{'write':'ref','name':'map'}");
        String record = RECORD.replace("OPEN", open).replace("BEFORE", before).replace("AFTER", after)
                .replace("CLOSE", close).replace("NAME", text("", "none"));
        String call = record.replace("MEMBER", "arguments");
        String json = "{'format':'gemcut-prompt','schema_version':1,'chat':{'joints':{'start':{'user':'<u>'},"
                + "'user':{'generation':'<a>'}},"
                + "'bodies':{'user':{'trim':'both','after':{},'empty':'keep','remove':[]}}},"
                + "'tools':{'place':'after-system','order':['words','call'],'marker':'<call>',"
                + "'between_declarations':'','between_calls':'','declaration':" + any + ",'call':" + call + ",'result':"
                + record.replace("MEMBER", "content") + ",'writers':{'value':" + any + ",'map':" + map + "}},"
                + "'bos':{'id':null,'text':null,'written':false},'stop':{'ids':[1],'texts':['</s>']},"
                + "'reasons':{'chat':null,'tools':null}}";
        return Prompt.read(json.replace('\'', '"').replace("~", "\\\""));
    }

    private static Prompt gemma() throws BundleException {
        return prompt("<q>", "", "none", "<call>call:", "", "", "</call>");
    }

    private static Prompt json() throws BundleException {
        return prompt("~", "~", "json", "<call>{~name~: ", "~", "~, ~arguments~: ", "}</call>");
    }

    private static void malformed(Prompt prompt, String text, int at) {
        try {
            ToolCalls.parse(prompt, text);
        } catch (BundleException error) {
            assertTrue(error.getMessage(), error.getMessage().contains("at character " + at + ":"));
            return;
        }
        fail("taken: " + text);
    }

    @Test
    public void callsAndTheWordsAroundThem() throws BundleException {
        Reply reply = ToolCalls.split(gemma(),
                "Sure. <call>call:alarm{time:<q>07:30<q>,days:[1,-2.50,null,null],on:true,deep:{x:{}}}</call> Done. ");
        assertEquals("Sure.  Done.", reply.text);
        assertEquals("[alarm {\"time\":\"07:30\",\"days\":[1,-2.5,null,null],\"on\":true,\"deep\":{\"x\":{}}}]",
                reply.calls.toString());
    }

    @Test
    public void modelsAreForgivenTheirSpaces() throws BundleException {
        assertEquals("[a {\"b\":\" c \",\"d\":[1]}]",
                ToolCalls.parse(gemma(), "<call> call :a { <q>b<q> : <q> c <q> , d:[ 1 ] }\n</call>").toString());
        assertEquals("[a {\"b\":\"q\\\"\\\\\\n\u00e9\"}, c {}]", ToolCalls.parse(json(),
                "<call>{\"name\" : \"a\",\"arguments\":{\"b\": \"q\\\"\\\\\\n\\u00e9\"}}</call>"
                + "<call>{\"name\":\"c\",\"arguments\":{ }}</call>").toString());
    }

    @Test
    public void malformedCallsSayWhere() throws BundleException {
        malformed(gemma(), "<call>call:a{b:<q>c}</call>", 27);
        malformed(gemma(), "\ud83d\ude00<call>call:a{b:1,b:2}</call>", 18);
        malformed(gemma(), "<call>call:a{b:01x}</call>", 15);
        malformed(gemma(), "<call>call:a{b:truely}</call>", 15);
        malformed(gemma(), "<call>say:a{}</call>", 0);
        malformed(gemma(), "<call>call:a{", 13);
        StringBuilder deep = new StringBuilder("<call>call:a{b:");
        for (int i = 0; i < 100; i++) {
            deep.append('[');
        }
        try {
            ToolCalls.parse(gemma(), deep.toString());
            fail("taken");
        } catch (BundleException error) {
            assertTrue(error.getMessage(), error.getMessage().contains("at most 64 levels"));
        }
    }

    @Test
    public void whatMayBecomeACallIsNotShownYet() throws BundleException {
        Prompt prompt = gemma();
        assertEquals(6, ToolCalls.shown(prompt, "Sure. <ca"));
        assertEquals(6, ToolCalls.shown(prompt, "Sure. <call>call:x"));
        assertEquals(10, ToolCalls.shown(prompt, "Sure. <cat"));
        assertEquals(0, ToolCalls.shown(prompt, ""));
    }

    @Test
    public void promptsAreRefusedInWords() throws BundleException {
        Prompt prompt = gemma();
        assertTrue(prompt.hasChat());
        assertEquals("<u>hello<a>", prompt.render(
                Collections.singletonList(Message.user(" hello\n")), Collections.<Tool>emptyList(), true));
        try {
            prompt.render(Collections.singletonList(Message.system("x")), Collections.<Tool>emptyList(), true);
            fail("taken");
        } catch (BundleException error) {
            assertTrue(error.getMessage(), error.getMessage().contains("a system message"));
        }
        for (String[] bad : new String[][] {
            {"{\"schema_version\":99}", "schema version 99"},
            {"{\"schema_version\":2,\"format\":\"x\"}", "format"},
            {"[]", "should be an object"},
            {"{\"schema_version\":2,\"format\":\"gemcut-prompt\"}", "chat is missing"},
        }) {
            try {
                Prompt.read(bad[0]);
                fail("taken");
            } catch (BundleException error) {
                assertTrue(error.getMessage(), error.getMessage().contains(bad[1]));
            }
        }
        assertFalse(prompt.bosWritten());
    }
}
