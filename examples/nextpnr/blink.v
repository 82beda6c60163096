// A 25-bit counter whose top bit drives a lamp: the smallest netlist worth placing and routing.
// blink.json is this file after `synth_ice40` of Yosys.
module top (input wire clk, output wire led);
    reg [24:0] count = 25'd0;

    always @(posedge clk)
        count <= count + 25'd1;

    assign led = count[24];
endmodule
